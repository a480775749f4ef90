//! Doorbells: how workers hear that there may be a job. The catalog alone knows whether there is.
