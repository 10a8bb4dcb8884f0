//! Checks the store's response to sent bytes. A response counts only if it is one of S3: any server that
//! listens on a port can return 200.

use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_types::base64;
use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::failure::shortened;

/// The store's response to a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    pub(super) e_tag: Option<String>,
    pub(super) crc64nvme: Option<String>,
    /// Encryption by the store, on which the content of the ETag depends.
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) has_customer_key: bool,
}

/// Why a response does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It lacks a field that every response of S3 has.
    NotS3(String),
    /// It describes other bytes.
    Differs(String),
}

/// Reads a receipt from a response; a macro, because the two requests that send bytes have responses of
/// different types.
macro_rules! receipt {
    ($answer:expr) => {
        $crate::storage::s3::receipt::Receipt {
            e_tag: $answer.e_tag().map(str::to_owned),
            crc64nvme: $answer.checksum_crc64_nvme().map(str::to_owned),
            encryption: $answer.server_side_encryption().cloned(),
            has_customer_key: $answer.sse_customer_algorithm().is_some(),
        }
    };
}
pub(super) use receipt;

/// Encodes a checksum as S3 does.
pub(super) fn encode(crc64nvme: u64) -> String {
    base64::encode(crc64nvme.to_be_bytes())
}

/// Computes the checksum of a body.
pub(super) fn checksum(body: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body)
}

/// Computes the checksum of a body in S3's encoding.
pub(super) fn crc64nvme(body: &[u8]) -> String {
    encode(checksum(body))
}

/// Compares the store's checksum with the sent one, if the store returns one.
pub(super) fn compare_checksum(sent: Option<&str>, found: Option<&str>) -> Result<(), Fault> {
    match (sent, found) {
        // The checksum of a composite object, which ends with the number of parts, cannot be compared.
        (Some(sent), Some(found)) if sent != found && !found.contains('-') => {
            Err(Fault::Differs(format!("CRC-64/NVME is {} instead of {sent}", shortened(found))))
        }
        _ => Ok(()),
    }
}

/// Returns the ETag, which every response about an object has. A weak one (`W/"…"`) comes from a web
/// server.
pub(super) fn e_tag(found: Option<&str>) -> Result<&str, Fault> {
    let missing = |what: &str| Fault::NotS3(what.to_owned());
    let tag = found.ok_or_else(|| missing("it has no ETag"))?;
    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    if bare.is_empty() || bare.starts_with("W/") || bare.contains('"') {
        return Err(missing("its ETag is not that of an object"));
    }
    Ok(bare)
}

impl Receipt {
    /// Checks whether the store has received these bytes. `sent` is the checksum that was sent with them.
    pub(super) async fn check(&self, body: Bytes, sent: Option<&str>) -> Result<(), Fault> {
        let tag = e_tag(self.e_tag.as_deref())?;
        compare_checksum(sent, self.crc64nvme.as_deref())?;
        if sent.is_some() && self.crc64nvme.is_some() {
            return Ok(());
        }
        let is_of_content = matches!(self.encryption, None | Some(ServerSideEncryption::Aes256));
        let is_md5 = tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.has_customer_key || !is_of_content || !is_md5 {
            return Ok(());
        }
        // Takes about a second for a large part.
        let md5 = move || format!("{:x}", Bytes::copy_from_slice(&Md5::digest(&body)));
        let sum = tokio::task::spawn_blocking(md5).await;
        match sum {
            Ok(sum) if !sum.eq_ignore_ascii_case(tag) => {
                Err(Fault::Differs(format!("the ETag is {tag} instead of {sum}, the MD5 of what was sent")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO_MD5: &str = "5d41402abc4b2a76b9719d911017c592";

    async fn check(receipt: Receipt, sent: Option<&str>) -> Result<(), Fault> {
        receipt.check(Bytes::from_static(b"hello"), sent).await
    }

    fn with_tag(tag: &str) -> Receipt {
        Receipt { e_tag: Some(tag.to_owned()), ..Receipt::default() }
    }

    #[tokio::test]
    async fn an_answer_without_an_objects_e_tag_is_not_one_of_s3() {
        for receipt in [Receipt::default(), with_tag(""), with_tag("\"\""), with_tag("W/\"2-nOO9QiTIwXg\"")] {
            assert!(matches!(check(receipt.clone(), None).await, Err(Fault::NotS3(_))), "{receipt:?}");
        }
    }

    #[tokio::test]
    async fn an_e_tag_that_is_an_md5_is_compared() {
        for tag in [HELLO_MD5.to_owned(), format!("\"{HELLO_MD5}\""), HELLO_MD5.to_uppercase()] {
            check(with_tag(&tag), None).await.unwrap();
        }
        let other = format!("\"{}\"", HELLO_MD5.replace('5', "6"));
        assert!(matches!(check(with_tag(&other), None).await, Err(Fault::Differs(_))));
        // With a KMS or customer key, and in some stores always, the ETag is not the MD5.
        let kms = Receipt { encryption: Some(ServerSideEncryption::AwsKms), ..with_tag(&other) };
        check(kms, None).await.unwrap();
        check(Receipt { has_customer_key: true, ..with_tag(&other) }, None).await.unwrap();
        check(with_tag("0x8DD1234"), None).await.unwrap();
    }

    #[tokio::test]
    async fn a_checksum_that_comes_back_decides() {
        let sum = crc64nvme(b"hello");
        let with = |found: &str| Receipt {
            crc64nvme: Some(found.to_owned()),
            ..with_tag(&HELLO_MD5.replace('5', "6"))
        };
        check(with(&sum), Some(&sum)).await.unwrap();
        let error = check(with("AAAAAAAAAAA="), Some(&sum)).await.unwrap_err();
        assert_eq!(error, Fault::Differs(format!("CRC-64/NVME is AAAAAAAAAAA= instead of {sum}")));
        compare_checksum(Some(&sum), Some("AAAAAAAAAAA=-2")).unwrap();
    }
}
