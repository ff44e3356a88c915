// SwiftPM's `.embedInCode` writes an array literal, which takes the Swift compiler more than a minute for the largest of
// these files. `#embed` takes a moment.
#include "embedded-files.h"

#include <string.h>

#define FILE_OF(array) ((struct EmbeddedFile){array, sizeof array})

static const unsigned char commonPasswords[] = {
#embed "../Credentials/common-passwords.txt"
};

static const unsigned char contract[] = {
#embed "../../openapi.yaml"
};

static const unsigned char htmlTemplate[] = {
#embed "../Mail/Templates/email.html"
};

static const unsigned char textTemplate[] = {
#embed "../Mail/Templates/email.txt"
};

static const unsigned char ar[] = {
#embed "../Localization/Languages/ar.json"
};
static const unsigned char de[] = {
#embed "../Localization/Languages/de.json"
};
static const unsigned char en[] = {
#embed "../Localization/Languages/en.json"
};
static const unsigned char es[] = {
#embed "../Localization/Languages/es.json"
};
static const unsigned char fr[] = {
#embed "../Localization/Languages/fr.json"
};
static const unsigned char ja[] = {
#embed "../Localization/Languages/ja.json"
};
static const unsigned char ptBR[] = {
#embed "../Localization/Languages/pt-BR.json"
};
static const unsigned char zhHans[] = {
#embed "../Localization/Languages/zh-Hans.json"
};

static const struct {
  const char *tag;
  struct EmbeddedFile file;
} languages[] = {
    {"ar", {ar, sizeof ar}}, {"de", {de, sizeof de}}, {"en", {en, sizeof en}},       {"es", {es, sizeof es}},
    {"fr", {fr, sizeof fr}}, {"ja", {ja, sizeof ja}}, {"pt-BR", {ptBR, sizeof ptBR}}, {"zh-Hans", {zhHans, sizeof zhHans}},
};

struct EmbeddedFile commonPasswordsFile(void) { return FILE_OF(commonPasswords); }

struct EmbeddedFile contractFile(void) { return FILE_OF(contract); }

struct EmbeddedFile htmlTemplateFile(void) { return FILE_OF(htmlTemplate); }

struct EmbeddedFile textTemplateFile(void) { return FILE_OF(textTemplate); }

struct EmbeddedFile languageFile(const char *tag) {
  for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
    if (strcmp(languages[i].tag, tag) == 0) return languages[i].file;
  return (struct EmbeddedFile){NULL, 0};
}
