//! The words of a statement that tell whether rows follow it, and whether it has a body of statements.

/// The keywords that affect the end of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SqlWord {
    #[default]
    Other,
    Begin,
    Case,
    Copy,
    Create,
    End,
    From,
    Function,
    Or,
    Procedure,
    Replace,
    Stdin,
    Stdout,
    To,
}

impl SqlWord {
    pub(super) fn of(word: &[u8]) -> SqlWord {
        let is = |keyword: &[u8]| word.eq_ignore_ascii_case(keyword);
        // By length first, because most words are not keywords.
        match word.len() {
            2 if is(b"or") => SqlWord::Or,
            2 if is(b"to") => SqlWord::To,
            3 if is(b"end") => SqlWord::End,
            4 if is(b"case") => SqlWord::Case,
            4 if is(b"copy") => SqlWord::Copy,
            4 if is(b"from") => SqlWord::From,
            5 if is(b"begin") => SqlWord::Begin,
            5 if is(b"stdin") => SqlWord::Stdin,
            6 if is(b"create") => SqlWord::Create,
            6 if is(b"stdout") => SqlWord::Stdout,
            7 if is(b"replace") => SqlWord::Replace,
            8 if is(b"function") => SqlWord::Function,
            9 if is(b"procedure") => SqlWord::Procedure,
            _ => SqlWord::Other,
        }
    }
}

/// The keywords of a statement so far.
#[derive(Debug, Default)]
pub(super) struct Words {
    first: [SqlWord; 4],
    /// Number of words in `first` so far.
    count: usize,
    last: SqlWord,
    pub(super) reads_rows: bool,
    pub(super) writes_rows: bool,
}

impl Words {
    pub(super) fn see(&mut self, word: SqlWord, depth: u64) {
        if depth == 0 {
            if self.first[0] == SqlWord::Copy {
                self.reads_rows |= self.last == SqlWord::From && word == SqlWord::Stdin;
                self.writes_rows |= self.last == SqlWord::To && word == SqlWord::Stdout;
            }
            self.last = word;
        }
        if let Some(place) = self.first.get_mut(self.count) {
            *place = word;
            self.count += 1;
        }
    }

    /// Returns whether the statement creates a function or procedure, which may have a body of statements.
    pub(super) fn create_routine(&self) -> bool {
        let kind = match self.first {
            [SqlWord::Create, SqlWord::Or, SqlWord::Replace, kind] | [SqlWord::Create, kind, ..] => kind,
            _ => return false,
        };
        matches!(kind, SqlWord::Function | SqlWord::Procedure)
    }
}
