//! Generated manifests: valid ones, encrypted and not, and ones with damaged JSON.
//!
//! A manifest that is written and read again is unchanged. A valid one can be opened with its key, and none makes its
//! reader use much more memory than it has bytes.

use fastrand::Rng;
use pg_backup::archive::encryption::Identities;
use pg_backup::archive::manifest::{
    DumpFile, DumpSnapshot, DumpedServer, Encryption, Manifest, ManifestNames, TableSum, TocObject, Tool,
    Totals,
};

use super::mutate::{BULK, blow_up, damage, damage_json, one};
use super::{Target, Verdict, measured, within};

pub struct Manifests {
    identities: Identities,
}

pub struct Input {
    json: Vec<u8>,
    is_right: bool,
}

/// A key for these tests only.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// The names of a manifest without tables, sealed for this key. Sealing them anew would give other bytes for the same
/// seed.
const SEALED: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB2M3JhRi9PYXpQbDVnd0dwRG1Yc0hrR2I1ZTc0NjNhWkx2L2R5K3FWcmpV\
    CnZtRzUvU29HNTBzdERZbGFpUlVybGl1cW0yYmovRXdSOHcyZURBYm1MZ28KLS0tIGdmSXNsUnlVbFRaeGswL0FoeEROanc5V1F6\
    RDF4M0U0Rnd4MXQxUTJ5TkEKyRbNaz2PGNxluLaiPCD1MtZVDcGKiqwGaz85dBhfgHFfVmoE6qiRSFhfO6p5YfG5eAp3AtAZUhNi\
    j+JM7AwL99ry2j3z7ex2oJzPYplqb+2w4Ks=";

const OWN: usize = 256 << 10;

/// Bytes of memory per byte of JSON: a table of 47 bytes takes 96, three times while the list grows.
const TIMES: usize = 12;

/// A number of tables for which quadratic work takes too long.
const MANY: u32 = 50_000;

impl Default for Manifests {
    fn default() -> Self {
        Manifests { identities: Identities::parse(IDENTITY).expect("an identity") }
    }
}

impl Target for Manifests {
    const NAME: &'static str = "manifest";
    type Input = Input;

    fn generate(random: &mut Rng) -> Input {
        let mut manifest = generated(random);
        if random.u8(..8) == 0 {
            manifest.format_version = 2;
            manifest.names = None;
            let (header_size, totals) = (random.u64(..1000), Totals::default());
            manifest.encryption = Some(Encryption { header_size, totals, sealed: SEALED.to_owned() });
        }
        let mut json = manifest.to_json();
        let is_right = random.u8(..4) == 0;
        if !is_right {
            match random.bool() {
                true => damage(random, &mut json, WORDS),
                false => {
                    let mut value = serde_json::from_slice(&json).expect("a manifest is JSON");
                    damage_json(random, &mut value);
                    json = serde_json::to_vec(&value).expect("it is JSON");
                }
            }
            if random.u16(..300) == 0 {
                blow_up(random, &mut json, BULK);
            }
        }
        Input { json, is_right }
    }

    fn check(&mut self, input: &Input) -> Result<Verdict, String> {
        let limit = OWN + TIMES * input.json.len();
        let (read, mut peak) = measured(|| Manifest::from_json(&input.json));
        within(peak, limit, "reading it")?;
        let mut manifest = match read {
            Ok(manifest) => manifest,
            Err(error) if input.is_right => return Err(format!("a right one is refused: {error}")),
            Err(_) => return Ok(Verdict::new(false, peak)),
        };
        match Manifest::from_json(&manifest.to_json()) {
            Ok(again) if is_same(&again, &manifest) => {}
            Ok(again) => {
                return Err(format!("it is another one when it was written: {manifest:?}\n{again:?}"));
            }
            Err(error) => return Err(format!("it is refused when it was written: {error}")),
        }
        let _ = (manifest.packed_size(), manifest.cipher());
        let totals = manifest.totals();
        let (opened, taken) = measured(|| manifest.open(Some(&self.identities)));
        // The buffers of the unsealed names and of the age file's chunk.
        within(taken, 2 * limit, "opening it")?;
        peak = peak.max(taken);
        if opened.is_ok() && manifest.names.is_some() && manifest.totals() != totals {
            return Err("it has other totals when it was opened".to_owned());
        }
        if let (true, Err(error)) = (input.is_right, opened) {
            return Err(format!("a right one does not open: {error}"));
        }
        Ok(Verdict::new(true, peak))
    }

    fn bytes(input: &Input) -> Vec<u8> {
        input.json.clone()
    }
}

/// Returns whether two manifests are equal, except for the last bit of a number of seconds.
fn is_same(one: &Manifest, other: &Manifest) -> bool {
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= a.abs() * 1e-12;
    one.durations.keys().eq(other.durations.keys())
        && one.durations.values().zip(other.durations.values()).all(is_near)
        && Manifest { durations: other.durations.clone(), ..one.clone() } == *other
}

/// Returns a manifest with a value in each field.
pub fn sample() -> Manifest {
    let time = "2026-04-26T16:29:58Z".parse().expect("a time");
    Manifest {
        format_version: 1,
        tool: Tool::this(),
        server: DumpedServer { version: "15.20".to_owned(), version_num: 150_020 },
        database: "main".to_owned(),
        snapshot: DumpSnapshot { lsn: Some("0/1A2B3C4D".to_owned()), time },
        started: time,
        finished: time,
        dump: DumpFile {
            file: "main-2026-04-26T16-29-58Z.sql.gz".to_owned(),
            compression: "gzip:5".parse().expect("a compression"),
            size: 1000,
            raw_size: 10_000,
            sha256: [0xab; 32],
            crc64nvme: [1; 8],
        },
        toc: TocObject {
            file: "main-2026-04-26T16-29-58Z.toc.json.gz".to_owned(),
            size: 500,
            raw_size: Some(5000),
            sha256: [2; 32],
        },
        entries: 3,
        names: Some(ManifestNames {
            source_database: "app".to_owned(),
            tables: Vec::new(),
            settings: [("TimeZone".to_owned(), "UTC".to_owned())].into(),
        }),
        encryption: None,
        durations: [("data".to_owned(), 1.5)].into(),
    }
}

fn generated(random: &mut Rng) -> Manifest {
    let table = |random: &mut Rng, dump_id| TableSum {
        dump_id,
        namespace: one(random, &["public", "", "odd \"name\"\n"]).to_owned(),
        name: one(random, &["t", "\u{e4}\u{1f600}", "\\"]).to_owned(),
        rows: random.u64(..1 << 50),
        digest: random.bool().then(|| u128::from(random.u64(..)).into()),
    };
    let count = if random.u16(..500) == 0 { MANY } else { random.u32(..8) };
    let tables = (0..count).map(|dump_id| table(random, dump_id)).collect();
    let sample = sample();
    Manifest {
        snapshot: DumpSnapshot { lsn: random.bool().then(|| "0/1".to_owned()), ..sample.snapshot },
        toc: TocObject { raw_size: random.bool().then(|| random.u64(..)), ..sample.toc },
        names: Some(ManifestNames { tables, ..sample.names.unwrap_or_default() }),
        durations: [("data".to_owned(), f64::from(random.u32(..)) / 1000.0)].into(),
        ..sample
    }
}

/// Tokens that have a meaning in the JSON.
const WORDS: &[&[u8]] = &[
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"0,",
    b"\"x\":[[[]]],",
    b"\"x\":[0,0,0,0,0,0,0,0,0,0,0,0],",
    b"{\"dump_id\":0,\"namespace\":\"\",\"name\":\"\",\"rows\":0},",
    b"\"tables\":[],",
    b"\"names\":null,",
    b"\"encryption\":{\"header_size\":1,\"tables\":0,\"rows\":0,\"sealed\":\"\"},",
    b"\"format_version\":3,",
    b"\"settings\":{},",
    b"\"a\":1e308,",
    b"0.30000000000000004",
    b"\"9999-12-31T23:59:59.999999999Z\"",
    b"\xff",
    b" ",
];
