//! What a store says of the bytes that it has taken. An answer counts only if it is S3's: anything that listens on a port
//! can answer 200.

use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_types::base64;
use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::failure::shortened;

/// The store's answer to a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    pub(super) e_tag: Option<String>,
    pub(super) crc64nvme: Option<String>,
    /// How the store encrypts, which decides of what the ETag is made.
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) has_customer_key: bool,
}

/// Why an answer does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It lacks what each answer of S3 has.
    NotS3(String),
    /// It is of other bytes.
    Differs(String),
}

/// Reads a receipt off an answer; the two requests that send bytes have answers of different types.
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

/// A checksum as S3 writes it.
pub(super) fn encode(crc64nvme: u64) -> String {
    base64::encode(crc64nvme.to_be_bytes())
}

/// The checksum of a body.
pub(super) fn checksum(body: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body)
}

/// The checksum of a body, as S3 writes it.
pub(super) fn crc64nvme(body: &[u8]) -> String {
    encode(checksum(body))
}

/// Compares the store's checksum with the one that it was sent, if it says one.
pub(super) fn compare_checksum(sent: Option<&str>, found: Option<&str>) -> Result<(), Fault> {
    match (sent, found) {
        // That of a composite object, in which the number of parts follows, is one of other sums.
        (Some(sent), Some(found)) if sent != found && !found.contains('-') => {
            Err(Fault::Differs(format!("CRC-64/NVME is {} instead of {sent}", shortened(found))))
        }
        _ => Ok(()),
    }
}

/// The ETag that each answer about an object has. A weak one (`W/\"…\"`) is a web server's.
pub(super) fn e_tag(found: Option<&str>) -> Result<&str, Fault> {
    let missing = |what: &str| Fault::NotS3(what.to_owned());
    let tag = found.ok_or_else(|| missing("it has no ETag"))?;
    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    if bare.is_empty() || bare.starts_with("W/") || bare.contains('"') {
        return Err(missing("its ETag is not an object's"));
    }
    Ok(bare)
}

impl Receipt {
    /// Whether the store has taken these bytes. `sent`: the checksum that went with them.
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
        // A second of work, for a large part.
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
        // With a key of KMS or of the customer it is made of something else, and in some stores always.
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
