//! Problems that several requests may have.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

/// Answers besides the good ones, all of them problem documents.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal => $text:literal,)+ })+) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl utoipa::IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([$(problem($status, $text)),+])
                }
            }
        )+
    };
}

fn problem(status: &str, text: &str) -> (String, RefOr<Response>) {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(text).content("application/problem+json", content);
    (status.to_owned(), response.build().into())
}

problems! {
    /// Of a request that reads a list.
    OfList {
        "400" => "A parameter is wrong.",
        "401" => "The token or key is not valid, or nobody asks where somebody must.",
        "429" => "This address asks too often; Retry-After says when it may again.",
        "503" => "Try again shortly.",
    }
    /// Of a request about something by its name.
    OfOne {
        "400" => "A header is wrong.",
        "401" => "The token or key is not valid, or nobody asks where somebody must.",
        "403" => "It is somebody else's.",
        "404" => "There is none, or none that the caller may know of.",
        "429" => "This address asks too often; Retry-After says when it may again.",
        "503" => "Try again shortly.",
    }
    /// Of a request with a body.
    OfBody {
        "400" => "The body is not what is wanted.",
        "401" => "The token or key is not valid, or nobody asks where somebody must.",
        "403" => "The caller may not do that.",
        "404" => "There is none, or none that the caller may know of.",
        "408" => "The body did not come in time.",
        "409" => "It does not fit what is there.",
        "413" => "The body is too long.",
        "415" => "The body is of another type.",
        "422" => "The file is no video.",
        "429" => "This address asks too often; Retry-After says when it may again.",
        "501" => "The store cannot do that.",
        "503" => "Try again shortly.",
    }
}
