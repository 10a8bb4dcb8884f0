//! Parses Markdown into blocks and headings. It supports only the syntax that the documents of this
//! repository use, and rejects other syntax that could contain a block.

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The line number of the block's first line in the document.
    pub line: usize,
    pub content: Content,
    /// The reason why the block is not run.
    pub not_run: Option<String>,
}

/// The content of a block.
#[derive(Debug)]
pub enum Content {
    Commands(Commands),
    Console(Vec<Exchange>),
    Sql(String),
    Text,
}

/// The commands of an `sh` block, and their expected output from the `output` block below it.
#[derive(Debug)]
pub struct Commands {
    pub text: String,
    pub prints: Option<Vec<String>>,
}

/// A command and its expected output.
#[derive(Debug)]
pub struct Exchange {
    /// The line number of the command in the document.
    pub line: usize,
    pub command: String,
    pub prints: Vec<String>,
}

/// A heading.
#[derive(Debug)]
pub struct Heading {
    pub line: usize,
    pub text: String,
}

/// The line number of an error, and its description.
type Wrong = (usize, String);

/// Parses a document.
pub fn parse(text: &str) -> Result<(Vec<Block>, Vec<Heading>), Wrong> {
    let mut blocks = Vec::new();
    let mut comment: Option<(usize, &str)> = None;
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        let above = comment.take();
        if trimmed.starts_with("~~~") {
            return Err((number, "a fence of tildes: write ```".to_owned()));
        } else if let Some(info) = trimmed.strip_prefix("```") {
            let indentation = line.len() - trimmed.len();
            let mut held = Vec::new();
            loop {
                let (_, line) = lines.next().ok_or((number, "this block does not end".to_owned()))?;
                if line.trim() == "```" {
                    break;
                }
                held.push(line.get(indentation..).unwrap_or_else(|| line.trim_start()));
            }
            let not_run = above.map(|(line, comment)| reason(line, comment)).transpose()?;
            if info.trim() == "output" {
                if not_run.is_some() {
                    return Err((number, "a block of output is never run: it needs no reason".to_owned()));
                }
                *output_of(number, blocks.last_mut())? = Some(held.into_iter().map(str::to_owned).collect());
                continue;
            }
            let content = content(number, info, &held)?;
            if not_run.is_some() && matches!(content, Content::Text) {
                return Err((number, format!("a block of {info} is never run: it needs no reason")));
            }
            blocks.push(Block { line: number + 1, content, not_run });
        } else if let Some(text) = trimmed.strip_prefix("<!--") {
            comment = Some((number, text));
        }
        if let Some((line, comment)) = above.filter(|(_, text)| text.trim_start().starts_with("not run:"))
            && !trimmed.starts_with("```")
        {
            return Err((line, format!("no block follows \"<!--{comment}\" directly")));
        }
    }
    if let Some((line, _)) = comment.filter(|(_, text)| text.trim_start().starts_with("not run:")) {
        return Err((line, "no block follows this comment".to_owned()));
    }
    Ok((blocks, headings(text)))
}

/// Returns the reason from a comment directly above a block.
fn reason(line: usize, comment: &str) -> Result<String, Wrong> {
    let reason = comment.trim().strip_suffix("-->").and_then(|text| text.trim().strip_prefix("not run:"));
    match reason.map(str::trim) {
        Some(reason) if !reason.is_empty() => Ok(reason.to_owned()),
        _ => Err((line, "a comment directly above a block can only be <!-- not run: why -->".to_owned())),
    }
}

/// Returns the place for the output that is shown on a line: in the block above, if that block has commands
/// without output so far.
fn output_of(line: usize, above: Option<&mut Block>) -> Result<&mut Option<Vec<String>>, Wrong> {
    match above.map(|block| &mut block.content) {
        Some(Content::Commands(Commands { prints: prints @ None, .. })) => Ok(prints),
        _ => Err((line, "output is shown below a block of sh, once".to_owned())),
    }
}

fn content(fence: usize, info: &str, lines: &[&str]) -> Result<Content, Wrong> {
    match info.trim() {
        "sh" => Ok(Content::Commands(Commands { text: joined(lines), prints: None })),
        "sql" => Ok(Content::Sql(joined(lines))),
        "console" => exchanges(fence, lines).map(Content::Console),
        "text" | "json" | "yaml" | "toml" => Ok(Content::Text),
        "" => Err((fence, "a block must say what it is: ```sh, ```console, ```text, …".to_owned())),
        other => Err((fence, format!("what a block of \"{other}\" is to do is not known"))),
    }
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Parses the exchanges of a `console` block. A line that ends with `\` continues on the next line, which may
/// have the prefix `> `, as in a terminal.
fn exchanges(fence: usize, lines: &[&str]) -> Result<Vec<Exchange>, Wrong> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (fence + 1..).zip(lines) {
        match (goes_on, line.strip_prefix("$ "), exchanges.last_mut()) {
            (true, _, Some(exchange)) => {
                exchange.command += line.strip_prefix("> ").unwrap_or(line);
                exchange.command += "\n";
                goes_on = line.ends_with('\\');
            }
            (_, Some(command), _) => {
                exchanges.push(Exchange {
                    line: number,
                    command: format!("{command}\n"),
                    prints: Vec::new(),
                });
                goes_on = command.ends_with('\\');
            }
            (_, None, Some(exchange)) => exchange.prints.push((*line).to_owned()),
            (_, None, None) => {
                return Err((number, "the first line of a console is a command: \"$ …\"".to_owned()));
            }
        }
    }
    match exchanges.is_empty() {
        true => Err((fence, "a console without a command".to_owned())),
        false => Ok(exchanges),
    }
}

/// Returns the headings outside of fences.
pub fn headings(text: &str) -> Vec<Heading> {
    let mut fenced = false;
    let mut headings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && line.starts_with('#') {
            headings.push(Heading { line: number, text: line.trim_start_matches('#').trim().to_owned() });
        }
    }
    headings
}

/// Returns the anchor of a heading, as GitHub generates it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
