//! What attestations say: whether a statement whose signature was verified is the one that a Guard asks for. Owns the
//! reading of predicates and the words for what is missing; it never verifies a signature.
//!
//! A predicate that is not understood never satisfies a condition.

mod cel;
mod json;
mod sbom;
mod slsa;
mod vex;
mod vuln;

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use windlass_model::guard::{AttestationRule, Condition, Predicate, Severity, VulnCondition};

use crate::identity::IdentityError;
use crate::statement::Statement;

pub use cel::{CelError, CelFault};

/// One rule of `require.attestations`, ready to be asked. Whose attestation it is, is judged elsewhere.
#[derive(Debug, Clone)]
pub struct AttestationCheck {
    predicate_type: String,
    condition: Option<Check>,
}

#[derive(Debug, Clone)]
enum Check {
    Slsa(slsa::Wanted),
    Vuln(VulnCondition),
    Spdx,
    CycloneDx,
    Vex(Option<std::time::Duration>),
    Cel(cel::Program),
}

/// Why a rule cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// The condition is for predicates of another type.
    #[error("`{condition}` cannot be asked of an attestation of type `{predicate_type}`")]
    Unfit {
        /// The condition's field.
        condition: &'static str,
        /// The type that the rule names.
        predicate_type: String,
    },
    /// A regular expression is none.
    #[error(transparent)]
    Pattern(#[from] IdentityError),
    /// The expression is none.
    #[error(transparent)]
    Cel(#[from] CelError),
}

impl AttestationCheck {
    /// Prepares a rule.
    pub fn compile(rule: &AttestationRule) -> Result<Self, AttestationError> {
        let condition = rule.condition.as_ref().map(|condition| Self::condition(rule, condition));
        Ok(Self { predicate_type: rule.predicate_type.clone(), condition: condition.transpose()? })
    }

    fn condition(rule: &AttestationRule, condition: &Condition) -> Result<Check, AttestationError> {
        if !condition.fits(&rule.predicate_type) {
            return Err(AttestationError::Unfit {
                condition: condition.field(),
                predicate_type: rule.predicate_type.clone(),
            });
        }
        Ok(match condition {
            Condition::Slsa(wanted) => Check::Slsa(slsa::Wanted::new(wanted, &rule.predicate_type)?),
            Condition::Vuln(limits) => Check::Vuln(*limits),
            Condition::Sbom if Predicate::of(&rule.predicate_type) == Some(Predicate::Spdx) => Check::Spdx,
            Condition::Sbom => Check::CycloneDx,
            Condition::Vex { max_age } => Check::Vex(*max_age),
            Condition::Cel(expression) => Check::Cel(cel::Program::compile(expression)?),
        })
    }

    /// The predicate type that is asked for.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// Whether a statement is what the rule asks for.
    ///
    /// # Errors
    /// It is not, and why.
    pub fn check(&self, statement: &Statement, now: Timestamp) -> Result<(), Unmet> {
        if statement.predicate_type != self.predicate_type {
            return Err(Unmet::Type {
                found: shown(&statement.predicate_type),
                wanted: self.predicate_type.clone(),
            });
        }
        let predicate = &statement.predicate;
        match &self.condition {
            None => Ok(()),
            Some(Check::Slsa(wanted)) => wanted.check(predicate),
            Some(Check::Vuln(limits)) => vuln::check(limits, predicate, now),
            Some(Check::Spdx) => sbom::spdx(predicate),
            Some(Check::CycloneDx) => sbom::cyclone_dx(predicate),
            Some(Check::Vex(max_age)) => vex::check(*max_age, predicate, now),
            Some(Check::Cel(program)) => match program.run(predicate, &statement.to_json()) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Unmet::False),
                Err(fault) => Err(Unmet::Cel(fault)),
            },
        }
    }
}

/// What an attestation lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It is of another type.
    #[error("the attestation is of type `{found}`, not `{wanted}`")]
    Type {
        /// As it states.
        found: String,
        /// As the Guard asks.
        wanted: String,
    },
    /// Its predicate is not of the form that its type promises.
    #[error("the predicate is not {form} as it is understood here: {why}")]
    Form {
        /// Of what it should be, with an article.
        form: &'static str,
        /// What is wrong with it.
        why: Fault,
    },
    /// It says something else.
    #[error("`{field}` is `{found}`, which is not what the Guard asks for")]
    Differs {
        /// Where in the predicate.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// It says nothing about this.
    #[error("the predicate does not say what its {what} is, in a form that is known here")]
    Silent {
        /// About what.
        what: &'static str,
    },
    /// It is too old.
    #[error("`{field}` is {at}: that is more than {limit} ago")]
    Old {
        /// Where in the predicate.
        field: &'static str,
        /// When it was made.
        at: Timestamp,
        /// How old it may be.
        limit: Age,
    },
    /// It was made later than now.
    #[error("`{field}` is {at}, which has not come yet")]
    Future {
        /// Where in the predicate.
        field: &'static str,
        /// When it says that it was made.
        at: Timestamp,
    },
    /// A vulnerability is worse than is allowed.
    #[error(
        "{id} in `{package}` is {severity}, and at most {limit} is allowed; {count} findings are worse than that"
    )]
    Severe {
        /// The worst finding.
        id: String,
        /// Where it was found.
        package: String,
        /// How bad it is.
        severity: Severity,
        /// How bad it may be.
        limit: Severity,
        /// How many findings are worse than the limit.
        count: usize,
    },
    /// The expression is false.
    #[error("the expression of `cel` is false for this attestation")]
    False,
    /// The expression has no value.
    #[error("the expression of `cel` has no value for this attestation: {0}")]
    Cel(CelFault),
}

/// What is wrong with a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field is absent, or of another JSON type.
    #[error("`{field}` is not {wanted}")]
    Field {
        /// Where.
        field: String,
        /// What it must be, with an article.
        wanted: &'static str,
    },
    /// A field holds a word that means nothing here.
    #[error("`{field}` is `{found}`, which means nothing here")]
    Word {
        /// Where.
        field: String,
        /// The word.
        found: String,
    },
    /// It lists nothing where something is needed.
    #[error("{0}")]
    Nothing(&'static str),
}

/// A duration for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub std::time::Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) =
            (self.0.as_secs() / 3_600, self.0.as_secs() / 60 % 60, self.0.as_secs() % 60);
        let parts = [(hours, "h"), (minutes, "m"), (seconds, "s")];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        if self.0.as_secs() == 0 { f.write_str("less than a second") } else { Ok(()) }
    }
}

/// A text of somebody else's, for a message: without control characters, and short.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if shown.len() < text.len() && text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// That something was done at most so long ago.
fn fresh(
    field: &'static str,
    at: Timestamp,
    max_age: Option<std::time::Duration>,
    now: Timestamp,
) -> Result<(), Unmet> {
    /// Two machines' clocks may differ by this much.
    const SKEW: std::time::Duration = std::time::Duration::from_mins(5);
    let Some(limit) = max_age else { return Ok(()) };
    let age = now.duration_since(at);
    match std::time::Duration::try_from(age) {
        Ok(age) if age > limit => Err(Unmet::Old { field, at, limit: Age(limit) }),
        Ok(_) => Ok(()),
        Err(_) if age.unsigned_abs() <= SKEW => Ok(()),
        Err(_) => Err(Unmet::Future { field, at }),
    }
}

/// A predicate's object.
fn object<'v>(predicate: &'v Value, form: &'static str) -> Result<json::Place<'v>, Unmet> {
    let place = json::Place::new(predicate, form);
    place.object()?;
    Ok(place)
}

#[cfg(test)]
mod tests;
