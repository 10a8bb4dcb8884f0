//! The three files of a backup, changed and resealed so that every checksum matches, as if pg-backup had
//! written them.

use std::path::{Path, PathBuf};

use libdeflater::{CompressionLvl, Compressor};
use pg_backup::pipeline::digest::{ObjectDigest, text_checksum};
use serde_json::{Value, json};

use super::sidecar::gunzip;

/// The three files of a backup, which a test changes and writes back in place.
#[derive(Clone)]
pub struct StoredBackup {
    pub manifest_path: PathBuf,
    pub manifest: Value,
    pub toc: Value,
    pub dump: Vec<u8>,
}

impl StoredBackup {
    pub fn read(manifest_path: &Path) -> StoredBackup {
        let file = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("it is JSON");
        let manifest = json(&file(manifest_path.to_owned()));
        let part = |name: &str| file(beside(manifest_path, &manifest[name]["file"]));
        let (toc, dump) = (json(&gunzip(&part("toc"))), part("dump"));
        StoredBackup { manifest_path: manifest_path.to_owned(), manifest, toc, dump }
    }

    /// Writes the files with the sizes and checksums that the manifest already has.
    pub fn write(&self) {
        self.write_with(&self.packed_toc());
    }

    /// Writes the files, with matching sizes and checksums in the manifest. The members' checksums in the
    /// table of contents do not change, see [`sum_members`](Self::sum_members).
    pub fn seal(&mut self) {
        let json = self.toc_json();
        let toc = self.packed_toc();
        self.manifest["toc"]["raw_size"] = json!(json.len());
        for (name, bytes) in [("dump", &self.dump), ("toc", &toc)] {
            let sums = ObjectDigest::of(bytes);
            let sha256: String = sums.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            self.manifest[name]["sha256"] = json!(sha256);
            self.manifest[name]["size"] = json!(sums.size);
            if name == "dump" {
                self.manifest[name]["crc64nvme"] = json!(format!("{:016x}", sums.crc64nvme));
            }
        }
        self.write_with(&toc);
    }

    /// Recomputes the checksums of the members of an uncompressed dump.
    pub fn sum_members(&mut self) {
        let members = self.toc["members"].as_array().expect("members are an array").iter();
        let sums = members.map(|member| {
            let from = offset(&member[0]);
            text_checksum(&self.dump[from..from + offset(&member[1])])
        });
        self.toc["checksums"] = json!(sums.collect::<Vec<u32>>());
    }

    fn write_with(&self, toc: &[u8]) {
        let manifest = serde_json::to_string_pretty(&self.manifest).unwrap() + "\n";
        std::fs::write(&self.manifest_path, manifest).unwrap();
        for (name, bytes) in [("dump", &*self.dump), ("toc", toc)] {
            std::fs::write(beside(&self.manifest_path, &self.manifest[name]["file"]), bytes).unwrap();
        }
    }

    fn toc_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.toc).unwrap()
    }

    fn packed_toc(&self) -> Vec<u8> {
        let json = self.toc_json();
        let mut compressor = Compressor::new(CompressionLvl::default());
        let mut packed = vec![0; compressor.gzip_compress_bound(json.len())];
        let length = compressor.gzip_compress(&json, &mut packed).unwrap();
        packed.truncate(length);
        packed
    }

    /// Returns the entry of this kind and name.
    pub fn entry(&mut self, desc: &str, tag: &str) -> &mut Value {
        let entries = self.toc["entries"].as_array_mut().expect("entries are an array");
        entries
            .iter_mut()
            .find(|entry| entry["desc"] == desc && entry["tag"] == tag)
            .expect("there is such an entry")
    }

    /// Removes an entry from the table of contents and from the manifest.
    pub fn remove(&mut self, desc: &str, tag: &str) {
        let entries = self.toc["entries"].as_array_mut().expect("entries are an array");
        entries.retain(|entry| !(entry["desc"] == desc && entry["tag"] == tag));
        let left = entries.len();
        assert_eq!(self.manifest["entries"], json!(left + 1), "{desc} {tag} is not one entry");
        self.manifest["entries"] = json!(left);
        if desc == "TABLE DATA" {
            self.manifest["tables"]
                .as_array_mut()
                .expect("tables are an array")
                .retain(|table| table["name"] != tag);
        }
    }
}

/// Returns the path of a file of the backup from its name in the manifest.
fn beside(manifest: &Path, name: &Value) -> PathBuf {
    manifest.with_file_name(name.as_str().expect("a file has a name"))
}

/// Converts a number to an index.
pub fn offset(number: &Value) -> usize {
    usize::try_from(number.as_u64().expect("it is a number")).unwrap()
}
