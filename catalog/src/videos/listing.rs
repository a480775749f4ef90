//! Lists of videos: newest first, in pages that stay the same while others are added.

use crate::database::args;
use crate::{AccountId, Error, VideoId};

use super::{Video, VideoState, Videos, Visibility};

/// Who asks for a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Somebody unknown: what is public.
    Anybody,
    /// Who works at the machine of a gateway without accounts: what is public, and what is nobody's.
    Unowned,
    /// Somebody known: what is public, and their own.
    Account(AccountId),
    /// Who sees all.
    Admin,
}

/// Which videos to list. `None` asks for any.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Who asks.
    pub viewer: Viewer,
    /// Whose they are.
    pub owner: Option<AccountId>,
    /// Who may see them.
    pub visibility: Option<Visibility>,
    /// Where they stand. Those that are being deleted are listed only when an admin asks for them.
    pub state: Option<VideoState>,
    /// Words in the title, one after the other; case does not matter.
    pub search: Option<String>,
}

// === impl Filter ===

impl Filter {
    /// All that somebody may see.
    pub fn of(viewer: Viewer) -> Self {
        Self { viewer, owner: None, visibility: None, state: None, search: None }
    }
}

// === impl Videos ===

impl Videos<'_> {
    /// A page of at most `limit` videos, newest first. The next one is `after` the last of this one, whether that is
    /// still there or not.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<VideoId>,
        limit: u32,
    ) -> Result<Vec<Video>, Error> {
        let sql = "SELECT * FROM videos WHERE ($1 = 2 OR visibility = 'public' OR owner = $2 OR ($1 = 1 AND owner IS NULL)) \
                   AND ($3 IS NULL OR owner = $3) AND ($4 IS NULL OR visibility = $4) \
                   AND (state = $5 OR $5 IS NULL) AND (state <> 'deleting' OR ($1 = 2 AND $5 IS NOT NULL)) \
                   AND ($6 IS NULL OR title_folded LIKE $6 ESCAPE '\\') AND ($7 IS NULL OR id < $7) \
                   ORDER BY id DESC LIMIT $8";
        let (sees_besides, viewer) = match filter.viewer {
            Viewer::Anybody => (0_i64, None),
            Viewer::Account(account) => (0, Some(account)),
            Viewer::Unowned => (1, None),
            Viewer::Admin => (2, None),
        };
        let pattern = filter.search.as_deref().map(pattern);
        let args = args![
            sees_besides,
            viewer,
            filter.owner,
            filter.visibility,
            filter.state,
            pattern,
            after,
            i64::from(limit)
        ];
        self.0.rows(sql, args).await?.iter().map(Video::from_row).collect()
    }
}

/// What finds `words` anywhere in a title, with anything between them.
fn pattern(words: &str) -> String {
    let mut pattern = "%".to_owned();
    for word in words.to_lowercase().split_whitespace() {
        for character in word.chars() {
            if matches!(character, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('%');
    }
    pattern
}
