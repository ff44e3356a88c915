import GRDB

extension Row {
  // The typed subscripts of GRDB end the process for a value that they cannot convert, and print the row.

  /// Returns `nil` unless the column holds an integer.
  func integer(_ column: String) -> Int64? { (self[column] as (any DatabaseValueConvertible)?) as? Int64 }

  /// Returns `nil` unless the column holds text.
  func text(_ column: String) -> String? { (self[column] as (any DatabaseValueConvertible)?) as? String }

  func isNull(_ column: String) -> Bool { (self[column] as (any DatabaseValueConvertible)?) == nil }
}
