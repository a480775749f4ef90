//! What there is under `/api/webhooks`. Pure.

use http::Method;
use seekway_catalog::{EventId, WebhookId};

/// What is asked of `/api/webhooks…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `GET`, `POST`
    All,
    /// `GET {id}`, `PATCH {id}`, `DELETE {id}`
    One(WebhookId),
    /// `POST {id}/secret`
    Secret(WebhookId),
    /// `POST {id}/test`
    Test(WebhookId),
    /// `GET {id}/deliveries`
    Deliveries(WebhookId),
    /// `POST {id}/deliveries/{event}/redeliver`
    Redeliver(WebhookId, EventId),
}

// === impl Action ===

impl Action {
    /// Decodes what follows `/api/webhooks/`.
    pub fn decode(path: &str) -> Option<Self> {
        let Some((id, rest)) = path.split_once('/') else { return WebhookId::parse(path).map(Self::One) };
        let id = WebhookId::parse(id)?;
        match rest {
            "secret" => Some(Self::Secret(id)),
            "test" => Some(Self::Test(id)),
            "deliveries" => Some(Self::Deliveries(id)),
            _ => {
                let event = rest.strip_prefix("deliveries/")?.strip_suffix("/redeliver")?;
                EventId::parse(event).map(|event| Self::Redeliver(id, event))
            }
        }
    }

    /// The methods that it answers.
    pub fn methods(self) -> &'static [Method] {
        static ALL: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
        static ONE: [Method; 4] = [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE];
        static WRITE: [Method; 1] = [Method::POST];
        static READ: [Method; 2] = [Method::GET, Method::HEAD];
        match self {
            Self::All => &ALL,
            Self::One(_) => &ONE,
            Self::Secret(_) | Self::Test(_) | Self::Redeliver(..) => &WRITE,
            Self::Deliveries(_) => &READ,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        const ID: &str = "00000000-0000-7000-8000-000000000001";
        let (id, event) = (WebhookId::parse(ID).expect("an id"), EventId::parse(ID).expect("an id"));
        for (below, action) in [
            ("", Action::One(id)),
            ("/secret", Action::Secret(id)),
            ("/test", Action::Test(id)),
            ("/deliveries", Action::Deliveries(id)),
            ("/deliveries/00000000-0000-7000-8000-000000000001/redeliver", Action::Redeliver(id, event)),
        ] {
            assert_eq!(Action::decode(&format!("{ID}{below}")), Some(action), "{below}");
            assert!(!action.methods().is_empty());
        }
        for below in
            ["/", "/x", "/test/", "/deliveries/", "/deliveries/1/redeliver", "/deliveries//redeliver", "0"]
        {
            assert_eq!(Action::decode(&format!("{ID}{below}")), None, "{below}");
        }
        assert_eq!(Action::decode(""), None);
    }
}
