extension String {
  /// The name as an identifier of SQL. GRDB's `quotedDatabaseIdentifier` leaves quotation marks in the name as they are, so that
  /// the rest of the name would be SQL.
  var quotedIdentifier: String { "\"\(replacing("\"", with: "\"\""))\"" }
}
