import GRDB

/// A part of the schema calls a function that only the site's own connections have, so SQLite can run no statement that
/// needs this part.
struct MissingFunction: Error, CustomStringConvertible {
  private let function: String
  /// The trigger, index or table that calls it, if its text contains the name.
  private let caller: String?

  /// Runs statements, and turns SQLite's error about an unknown function into this error.
  static func named<Result>(in db: Database, table: String, _ work: () throws -> Result) throws -> Result {
    do {
      return try work()
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      // "no such function: f" in a trigger, and "unknown function: f()" in a table or an index.
      guard let message = error.message, let name = message.firstMatch(of: /(?:no such|unknown) function: ([^()]+)/)?.1 else { throw error }
      throw MissingFunction(function: String(name), caller: try caller(of: String(name), in: db, table: table))
    }
  }

  private static func caller(of function: String, in db: Database, table: String) throws -> String? {
    // An operator such as REGEXP is a function as well.
    let sql = """
      SELECT CASE type WHEN 'table' THEN 'a CHECK or a column of the table ' || name ELSE 'the ' || type || ' ' || name || ' of the table ' || tbl_name END
      FROM sqlite_master WHERE instr(lower(sql), lower(?)) > 0 ORDER BY tbl_name <> ?, type <> 'trigger', name LIMIT 1
      """
    return try String.fetchOne(db, sql: sql, arguments: [function, table])
  }

  var description: String {
    "\(caller ?? "a part of the schema") calls the function \(function), which only the site's own connections have; use the site's tools to change that table"
  }
}
