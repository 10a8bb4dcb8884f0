// What Chromium actually displays of the page; evaluated by tests/it/page.rs.
(() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const isSeen = (colour) => colour !== "none" && (numbers(colour)[3] ?? 1) > 0;
  const luminance = ([red, green, blue]) => {
    const linear = [red, green, blue].map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(numbers(one)), luminance(numbers(other))].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (isSeen(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const called = (element) =>
    `${element.tagName}.${element.getAttribute("class") ?? ""} ${element.textContent.trim().slice(0, 40)}`;
  const shown = [...document.body.querySelectorAll("*")].filter((element) => element.getClientRects().length > 0);

  const texts = shown.filter(
    (element) =>
      !element.closest("svg") &&
      [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== ""),
  );
  const textContrasts = texts.map((element) => [
    contrast(getComputedStyle(element).color, ground(element)),
    called(element),
  ]);

  const shapes = shown.filter((element) => element.matches(".bar, .hollow, .cross path, .mark circle, .parts rect"));
  const shapeContrasts = shapes.map((element) => {
    const { fill, stroke } = getComputedStyle(element);
    return [contrast(isSeen(fill) ? fill : stroke, ground(element.closest("section, header"))), called(element)];
  });

  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((heading) => Number(heading.tagName[1]));
  return {
    title: document.title,
    text: document.body.innerText,
    ground: getComputedStyle(document.documentElement).backgroundColor,
    ink: getComputedStyle(document.body).color,
    scrollWidth: document.documentElement.scrollWidth,
    broad: shown
      .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return left < -0.5 || right > WIDTH + 0.5;
      })
      .map(called),
    texts: textContrasts.length,
    faintTexts: textContrasts.filter(([value]) => value < 4.5),
    shapes: shapeContrasts.length,
    faintShapes: shapeContrasts.filter(([value]) => value < 3),
    // An image has a text alternative, or is hidden from assistive technology.
    mutePictures: [...document.querySelectorAll("svg")]
      .filter((picture) => !picture.parentElement.closest("svg"))
      .filter((picture) => picture.getAttribute("aria-hidden") !== "true")
      .filter((picture) => picture.getAttribute("role") !== "img" || !picture.getAttribute("aria-label"))
      .map(called),
    levels,
    skippedLevels: levels.filter((level, place) => level > (levels[place - 1] ?? 0) + 1),
    scripts: document.scripts.length,
    foreign: performance.getEntriesByType("resource").map((entry) => entry.name),
    openTables: shown.filter((element) => element.tagName === "TABLE").length,
  };
})();
