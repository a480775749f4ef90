//! Whether bytes may be kept: by what they are, and by the checksum that came with them.

use seekway_catalog::Upload;

use super::super::Refusal;
use super::super::sniff::SNIFF_BYTES;
use super::Writer;
use super::buffer::Buffer;
use crate::respond::Problem;

/// Whether the first bytes that are committed were looked at. A container alone does not say so: it may be that of
/// bytes which were thrown away, by a checksum or a kill.
pub(super) fn is_sniffed(upload: &Upload) -> bool {
    upload.container.is_some() && upload.offset >= SNIFF_BYTES as u64
}

// === impl Writer ===

impl Writer {
    /// Looks at the first bytes, once. What is no video ends here, before any of it is committed; with a checksum only
    /// when that holds, because the bytes may have been damaged on their way, and will be sent again.
    pub(super) async fn sniff(&mut self) -> Result<(), Problem> {
        if self.is_sniffed || self.is_piece() {
            return Ok(());
        }
        assert_eq!(self.start, 0, "no part is stored before its type is known");
        let bytes = self.buffer.as_ref().map_or(&[][..], Buffer::bytes);
        match self.inner.recognise(bytes, self.upload.purpose) {
            Ok(container) => {
                let (uploads, name) = (self.inner.catalog.uploads(), container.name());
                uploads.set_container(self.upload.id, self.epoch, name).await?;
                self.upload.container = Some(name.to_owned());
                self.is_sniffed = true;
                Ok(())
            }
            Err(refusal) if self.checksum.is_some() => {
                self.refusal = Some(refusal);
                Ok(())
            }
            Err(refusal) => Err(self.refuse(refusal).await?),
        }
    }

    /// Commits what waited for the checksum, if it holds.
    pub(super) async fn verify(&mut self) -> Result<(), Problem> {
        let Some(checksum) = self.checksum.take() else { return Ok(()) };
        if !checksum.holds() {
            return Err(Refusal::Checksum.into());
        }
        if let Some(refusal) = self.refusal.take() {
            return Err(self.refuse(refusal).await?);
        }
        for part in std::mem::take(&mut self.held) {
            self.commit(part).await?;
        }
        Ok(())
    }

    /// Gives the upload up, and says why.
    async fn refuse(&mut self, refusal: Refusal) -> Result<Problem, Problem> {
        // Only the newest writer may say so.
        self.inner.catalog.uploads().reserve_part(self.upload.id, self.epoch).await?;
        self.inner.refuse(self.upload.id, refusal.to_string()).await?;
        Ok(refusal.into())
    }
}
