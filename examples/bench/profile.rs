//! Where pg-backup spends its time, measured by perf. It needs a binary with symbols, which `make profile`
//! builds.

use std::process::Command;

use crate::fixture::{Fixture, results_dir};
use crate::harness::program::run;
use crate::null;
use crate::upload::Stage;

pub fn show(fixture: &Fixture) {
    let (database, _) = fixture.database();
    let stage = Stage::new(database);
    for (name, program) in
        [("gzip", stage.ours("gzip")), ("zstd", stage.ours("zstd")), ("null", null::ours(&stage.database))]
    {
        let data = results_dir().join(format!("perf-{name}.data"));
        let mut record = Command::new("perf");
        record.args(["record", "--quiet", "-F", "997", "-o"]).arg(&data).arg("--");
        record.arg(program.get_program()).args(program.get_args());
        for (variable, value) in program.get_envs() {
            record.env(variable, value.unwrap_or_default());
        }
        run(&mut record).expect_success();
        let mut report = Command::new("perf");
        report
            .args(["report", "--stdio", "--fields", "overhead,symbol", "--percent-limit", "1", "-i"])
            .arg(&data);
        let report = run(&mut report).expect_success().stdout_text();
        println!("### {name}\n\n```");
        for line in report.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            println!("{}", line.trim_end());
        }
        println!("```\n\nThe rest: `perf report -i {}`\n", data.display());
    }
}
