//! Seekway beside other servers: the same workloads on all of them, in turns, on one machine.

mod report;

pub use self::report::{
    Bound, Figures, Goal, Machine, Objects, PeerReport, Prepare, Report, Round, ScenarioReport,
};
