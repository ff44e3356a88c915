/// Recognizes files of other formats by their first bytes.
enum FileSignature {
  private static let known: [(start: [UInt8], reason: String)] = [
    ([0x1F, 0x8B], "this is compressed with gzip; " + packed("gunzip -c")),
    (Array("BZh".utf8), "this is compressed with bzip2; " + packed("bunzip2 -c")),
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "this is compressed with xz; " + packed("xz -dc")),
    ([0x5D, 0, 0], "this is compressed with lzma; " + packed("xz -dc")),
    ([0x28, 0xB5, 0x2F, 0xFD], "this is compressed with zstd; " + packed("zstd -dc")),
    (Array("PK\u{3}\u{4}".utf8), "this is a zip archive or a spreadsheet; unpack it, or export the spreadsheet as CSV in UTF-8"),
    ([0xFF, 0xFE], utf16), ([0xFE, 0xFF], utf16),
    (Array("SQLite format 3\0".utf8), "this is an SQLite database; export its users with `sqlite3 -json FILE 'SELECT * FROM auth_user'`"),
    (Array("PGDMP".utf8), "this is an archive of pg_dump; in psql, use `\\copy (SELECT * FROM auth_user) TO 'users.csv' CSV HEADER`"),
    (Array("/*M!".utf8), sql), (Array("-- M".utf8), sql),
    (Array("- model:".utf8), "this is YAML; write the dump with `dumpdata --format jsonl`"),
    (Array("<".utf8), "this is XML or HTML; write the dump with `dumpdata --format jsonl`"),
  ]
  private static let sql = "this is SQL; write the rows with `mysqldump --tab FOLDER`, and import auth_user.txt with --format mysql"
  private static let utf16 = "this is UTF-16; convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`"

  private static func packed(_ program: String) -> String {
    "unpack it first: `\(program) FILE | password-reset users import - --format …`"
  }

  /// Returns why a file that starts with these bytes is not in the format, or `nil` if it may be.
  static func problem(of start: [UInt8], _ format: UserFileFormat) -> String? {
    if let (_, reason) = known.first(where: { start.starts(with: $0.start) }) { return reason }
    // Without a byte order mark, every second byte of UTF-16 is 0.
    if start.prefix(4).contains(0) { return utf16 }
    let text = start.starts(with: [0xEF, 0xBB, 0xBF]) ? start.dropFirst(3) : start[...]
    switch (format, text.first { ![0x20, 0x09, 0x0D, 0x0A].contains($0) }) {
    case (.csv, UInt8(ascii: "[")): return "this is a JSON array, not CSV; add --format dumpdata"
    case (.csv, UInt8(ascii: "{")): return "this is JSON, not CSV; add --format jsonl"
    case (.jsonl, UInt8(ascii: "[")): return "this is a JSON array, not one object per line; add --format dumpdata"
    case (.jsonl, let first?) where first != UInt8(ascii: "{"): return "this is not JSON; for CSV, use --format csv"
    case (.csv, _): return separatorProblem(in: text.drop { [0x0D, 0x0A].contains($0) }.prefix { ![0x0D, 0x0A].contains($0) })
    default: return nil
    }
  }

  private static func separatorProblem(in header: ArraySlice<UInt8>) -> String? {
    if header.starts(with: "sep=".utf8) || header.starts(with: "SEP=".utf8) {
      return "the first line is for a spreadsheet program; remove it, and separate the columns with commas"
    }
    let others: KeyValuePairs = [";": "semicolons", "\t": "tabs", "|": "vertical bars"]
    guard !header.contains(UInt8(ascii: ",")), let other = others.first(where: { pair in header.contains { pair.key.utf8.elementsEqual([$0]) } })
    else { return nil }
    let hint = other.key == "\t" ? ", or use --format mysql for a file of MySQL" : ""
    return "the columns are separated by \(other.value); separate them with commas\(hint)"
  }
}
