//! A token is believed only as it was signed.

use super::*;

const NOW: u64 = 1_800_000_000;
const ACCOUNT: &str = "00000000-0000-7000-8000-000000000001";

fn key() -> SigningKey {
    let NewSigningKey { id, private_key, public_key } = new_key();
    SigningKey { id, private_key, public_key, retires_ms: 1, expires_ms: 2, now_ms: 0 }
}

fn claims() -> Claims {
    let (iss, sub, role) = (ISSUER.to_owned(), ACCOUNT.to_owned(), "creator".to_owned());
    Claims { iss, sub, role, iat: NOW, exp: NOW + 60 }
}

fn verify(token: &str, keys: &[SigningKey], now_secs: u64) -> Option<Principal> {
    Parsed::read(token)?.verify(keys, now_secs)
}

#[test]
fn it_is_valid_until_it_expires() {
    let keys = [key(), key()];
    let token = sign(&keys[1], &claims()).expect("signs");
    let principal = verify(&token, &keys, NOW).expect("valid");
    assert_eq!((principal.account.to_string().as_str(), principal.role), (ACCOUNT, Role::Creator));
    assert!(verify(&token, &keys, NOW + 59).is_some());
    assert!(verify(&token, &keys, NOW + 60).is_none());
    assert!(verify(&token, &keys[..1], NOW).is_none(), "its key has expired");
}

#[test]
fn every_byte_of_it_counts() {
    let keys = [key()];
    let token = sign(&keys[0], &claims()).expect("signs");
    for at in 0..token.len() {
        for other in ["A", "b", ".", "="] {
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            assert!(changed == token || verify(&changed, &keys, NOW).is_none(), "{changed}");
        }
    }
    for cut in 0..token.len() {
        assert!(verify(&token[..cut], &keys, NOW).is_none());
    }
}

/// Attacks that libraries have fallen for.
#[test]
fn the_token_does_not_choose_its_algorithm() {
    let key = key();
    let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).expect("JSON"));
    let forged = |alg: &str, sign: &dyn Fn(&str) -> Vec<u8>| {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{}"}}"#, key.id);
        let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(&signed)))
    };
    let keyed = |signed: &str| {
        let public = decode(&key.public_key).expect("base64");
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        ring::hmac::sign(&secret, signed.as_bytes()).as_ref().to_vec()
    };
    for alg in ["none", "None", "HS256", "EdDSA"] {
        let keys = std::slice::from_ref(&key);
        assert!(verify(&forged(alg, &|_| Vec::new()), keys, NOW).is_none(), "{alg}");
        assert!(verify(&forged(alg, &keyed), keys, NOW).is_none(), "{alg}");
    }
}
