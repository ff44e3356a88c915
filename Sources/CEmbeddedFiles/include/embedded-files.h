#pragma once
#include <stddef.h>

/// The contents of a file, as part of the program.
struct EmbeddedFile {
  const unsigned char *start;
  size_t count;
};

/// Returns Django's list of common passwords.
struct EmbeddedFile commonPasswordsFile(void);

/// Returns the API contract.
struct EmbeddedFile contractFile(void);

/// Returns the sentences of a built-in language, or no bytes if the language is not built in.
struct EmbeddedFile languageFile(const char *tag);

/// Returns the built-in template of the HTML part of an email.
struct EmbeddedFile htmlTemplateFile(void);

/// Returns the built-in template of the text part of an email.
struct EmbeddedFile textTemplateFile(void);
