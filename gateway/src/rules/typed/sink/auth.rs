//! `auth`: who sends. Secrets stand in a file or in the environment, never in the configuration.

use std::path::PathBuf;

use super::{Mistaken, plain_text};
use crate::rules::mistake::{Findings, Kind};
use crate::rules::settings::Secret;
use crate::rules::tree::{Section, Value, malformed, text};
use crate::rules::typed::gateway::path;

/// Ways to say who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Password,
    Bearer,
    Token,
    Credentials,
}

/// `auth` as typed.
#[derive(Debug)]
pub(super) enum TypedAuth {
    None,
    Password { user: String, password: Secret },
    Bearer(Secret),
    Token(Secret),
    Credentials(PathBuf),
}

impl Form {
    fn key(self) -> &'static str {
        match self {
            Self::Password => "user",
            Self::Bearer => "bearer",
            Self::Token => "token",
            Self::Credentials => "credentials",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Password => "auth = { user = \"…\", password = { file = \"…\" } }",
            Self::Bearer => "auth = { bearer = { file = \"…\" } }",
            Self::Token => "auth = { token = { file = \"…\" } }",
            Self::Credentials => "auth = { credentials = \"FILE\" }",
        }
    }
}

/// Reads `auth`, which may have one of these forms.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    forms: &[Form],
    findings: &mut Findings,
) -> Option<TypedAuth> {
    let Some(value) = section.get("auth") else {
        return Some(TypedAuth::None);
    };
    let examples: Vec<&str> = forms.iter().map(|form| form.example()).collect();
    let examples = examples.join(" or ");
    let expected = format!("a table: {examples}");
    let mut auth = Section::of_value("`auth`", value, &[], &expected, findings)?;
    let typed: Vec<Result<TypedAuth, Mistaken>> = forms
        .iter()
        .filter_map(|form| read_form(*form, &mut auth, findings))
        .collect();
    let is_misspelt = forms.iter().any(|form| auth.misspelt(form.key()));
    auth.close(findings);
    let mut typed = typed.into_iter();
    match (typed.next(), typed.next()) {
        (Some(one), None) => one.ok(),
        (Some(_), Some(_)) => {
            findings
                .mistake(
                    Kind::Conflict,
                    value.span(),
                    "`auth` says in two ways who sends",
                    "expected one",
                )
                .help(format!("write {examples}"));
            None
        }
        (None, _) if is_misspelt => None,
        (None, _) => {
            findings
                .mistake(
                    Kind::Missing,
                    value.span(),
                    "`auth` does not say who sends",
                    "one way must be given",
                )
                .help(format!("write {examples}"));
            None
        }
    }
}

/// Reads one form; `None` where it is not used.
fn read_form(
    form: Form,
    auth: &mut Section<'_, '_>,
    findings: &mut Findings,
) -> Option<Result<TypedAuth, Mistaken>> {
    let read = match form {
        Form::Password => {
            if !auth.holds("user") && !auth.holds("password") {
                auth.get("user");
                auth.get("password");
                return None;
            }
            let user = auth.need("user", "user = \"…\"");
            let password = auth.need("password", "password = { file = \"…\" }");
            let user = user.and_then(|value| read_user(value, findings));
            let password = password.and_then(|value| secret("`password`", value, findings));
            let both = user.zip(password);
            both.map(|(user, password)| TypedAuth::Password { user, password })
        }
        Form::Bearer => {
            let value = auth.get("bearer")?;
            secret("`bearer`", value, findings).map(TypedAuth::Bearer)
        }
        Form::Token => {
            let value = auth.get("token")?;
            secret("`token`", value, findings).map(TypedAuth::Token)
        }
        Form::Credentials => {
            let value = auth.get("credentials")?;
            path("`credentials`", value, findings).map(TypedAuth::Credentials)
        }
    };
    Some(read.ok_or(Mistaken))
}

fn read_user(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let user = plain_text("`user`", value, findings)?;
    if user.contains(':') {
        malformed(
            value.span(),
            "`user` holds a colon",
            "a colon ends the name where a request carries it",
            findings,
        );
        return None;
    }
    Some(user)
}

/// Reads where a secret stands. The secret itself is refused: the file is copied, shown and
/// kept in places where it should not be.
pub(in crate::rules::typed) fn secret(
    name: &str,
    value: &Value<'_>,
    findings: &mut Findings,
) -> Option<Secret> {
    if value.get_ref().as_str().is_some() {
        findings
            .mistake(
                Kind::Exposed,
                value.span(),
                format!("{name} is a secret and stands in the configuration"),
                "expected where it stands, not itself",
            )
            .help(
                "put it into a file that only the gateway reads and write { file = \"/etc/tidegate/NAME\" }, \
                 or into the environment and write { env = \"NAME\" }, \
                 or give it to the service as a systemd credential and write { credential = \"NAME\" }",
            );
        return None;
    }
    let expected = "{ file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";
    let mut section = Section::of_value(name, value, &[], expected, findings)?;
    let file = section.get("file");
    let env = section.get("env");
    let credential = section.get("credential");
    let places = ["file", "env", "credential"];
    let misspelt = places.iter().any(|place| section.misspelt(place));
    section.close(findings);
    match (file, env, credential) {
        (Some(file), None, None) => path("`file`", file, findings).map(Secret::File),
        (None, Some(env), None) => variable(env, findings).map(Secret::Env),
        (None, None, Some(name)) => credential_name(name, findings).map(Secret::Credential),
        (None, None, None) if misspelt => None,
        (file, env, credential) => {
            let given = [file, env, credential].into_iter().flatten().count();
            let (kind, message) = match given {
                0 => (Kind::Missing, "does not say where the secret stands"),
                2 => (Kind::Conflict, "names two places"),
                _ => (Kind::Conflict, "names three places"),
            };
            findings
                .mistake(
                    kind,
                    value.span(),
                    format!("{name} {message}"),
                    "expected one",
                )
                .help(format!("write {expected}"));
            None
        }
    }
}

/// The name of a systemd credential, which is that of a file.
fn credential_name(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let expected = "a name such as \"device-keys\"";
    let typed = text("`credential`", value, expected, findings)?;
    let begins = typed.starts_with(|sign: char| sign.is_ascii_alphanumeric());
    let signs = typed.bytes().all(tidegate_shared::ids::is_name_byte);
    if !begins || !signs || typed.len() > super::WORD_BYTES_MAX {
        malformed(
            value.span(),
            "`credential` is not the name of a credential",
            "expected A-Z a-z 0-9 . _ -, such as \"device-keys\", as in LoadCredential=",
            findings,
        );
        return None;
    }
    Some(typed.to_owned())
}

/// The name of an environment variable.
fn variable(value: &Value<'_>, findings: &mut Findings) -> Option<String> {
    let typed = text(
        "`env`",
        value,
        "a name such as \"TIDEGATE_TOKEN\"",
        findings,
    )?;
    let begins = typed.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_');
    let signs = typed
        .bytes()
        .all(|sign| sign.is_ascii_alphanumeric() || sign == b'_');
    if !begins || !signs || typed.len() > super::WORD_BYTES_MAX {
        malformed(
            value.span(),
            "`env` is not the name of an environment variable",
            "expected letters, digits and _, such as \"TIDEGATE_TOKEN\"",
            findings,
        );
        return None;
    }
    Some(typed.to_owned())
}
