//! The rows of a COPY, and what stands behind the COPY in its line.

use super::{Mode, ScriptError, ScriptReader, ScriptStep, newlines};

impl ScriptReader {
    /// Skips the rest of a COPY's line, or keeps it until the rows have been read. Returns false if more text
    /// is needed.
    pub(super) fn skip_rest_of_line(&mut self, is_comment: bool, copies: u32) -> Result<bool, ScriptError> {
        if !self.rest_of_line.is_empty() {
            return self.keep_rest_of_line(copies);
        }
        let length = match is_comment {
            true => memchr::memchr(b'\n', &self.text),
            false => self.text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r')),
        };
        self.advance(length.unwrap_or(self.text.len()));
        match (self.text.first(), self.text.get(1)) {
            (Some(b'\n'), _) => {
                self.advance(1);
                self.mode = Mode::Rows { at_start: true, more: copies.saturating_sub(1) };
                Ok(true)
            }
            (Some(b'-'), Some(b'-')) => {
                self.mode = Mode::BeforeRows { is_comment: true, copies };
                Ok(true)
            }
            (None, _) if self.is_end() => {
                Err(ScriptError::CutOff { within: "the rows of a COPY", line: self.line })
            }
            (None, _) => Ok(false),
            (Some(b'-'), None) if !self.is_end() => Ok(false),
            _ => self.keep_rest_of_line(copies),
        }
    }

    /// Keeps the rest of a COPY's line, which is not empty.
    fn keep_rest_of_line(&mut self, copies: u32) -> Result<bool, ScriptError> {
        let end = memchr::memchr(b'\n', &self.text).map(|end| end + 1);
        let now = self.text.split_to(end.unwrap_or(self.text.len()));
        if self.rest_of_line.len() + now.len() > self.longest {
            return Err(self.too_long(self.line));
        }
        self.rest_of_line.unsplit(now);
        self.line_of_rest = self.line;
        if end.is_none() && self.is_end() {
            return Err(ScriptError::CutOff { within: "the rows of a COPY", line: self.line });
        }
        if end.is_some() {
            self.count_lines(1);
            self.text.unsplit(std::mem::take(&mut self.behind));
            self.mode = Mode::Rows { at_start: true, more: copies.saturating_sub(1) };
        }
        Ok(end.is_some())
    }

    /// Continues after a block of rows: with the next block, or with the rest of the COPY's line.
    fn end_rows(&mut self, more: u32) -> ScriptStep {
        if let Some(more) = more.checked_sub(1) {
            self.mode = Mode::Rows { at_start: true, more };
            return ScriptStep::EndOfRows;
        }
        self.mode = Mode::Between;
        if !self.rest_of_line.is_empty() {
            self.next_line = Some(self.line);
            self.line = self.line_of_rest;
            let rest = std::mem::take(&mut self.rest_of_line);
            self.behind = std::mem::replace(&mut self.text, rest);
        }
        ScriptStep::EndOfRows
    }

    pub(super) fn rows(&mut self, at_start: bool, more: u32) -> Result<Option<ScriptStep>, ScriptError> {
        if at_start {
            let line = memchr::memchr(b'\n', &self.text).map(|end| &self.text[..end]);
            let may_end = self.text.len() < 3 && b"\\.\r".starts_with(&self.text);
            match line {
                Some(b"\\." | b"\\.\r") => {
                    let length = line.map_or(0, <[u8]>::len);
                    self.advance(length + 1);
                    return Ok(Some(self.end_rows(more)));
                }
                None if self.is_end() && matches!(self.text.as_ref(), b"\\." | b"\\.\r") => {
                    self.advance(self.text.len());
                    return Ok(Some(self.end_rows(more)));
                }
                None if may_end || self.text.as_ref() == b"\\.\r" => return self.starved_of_rows(),
                _ => {}
            }
        }
        if self.text.is_empty() {
            return self.starved_of_rows();
        }
        // Up to a possible end of the rows, which has a line of its own.
        let end = memchr::memmem::find_iter(&self.text, b"\n\\.")
            .map(|at| at + 1)
            .find(|at| !matches!(self.text.get(at + 2), Some(byte) if !matches!(byte, b'\n' | b'\r')));
        // The last line may be the beginning of the end of the rows.
        let length = end.unwrap_or(self.text.len() - usize::from(self.text.ends_with(b"\n\\")));
        let rows = self.text.split_to(length).freeze();
        self.count_lines(newlines(&rows));
        self.mode = Mode::Rows { at_start: rows.ends_with(b"\n"), more };
        Ok(Some(ScriptStep::Rows(rows)))
    }

    fn starved_of_rows(&self) -> Result<Option<ScriptStep>, ScriptError> {
        match self.is_end() {
            true => Err(ScriptError::CutOff { within: "the rows of a COPY", line: self.line }),
            false => Ok(None),
        }
    }
}
