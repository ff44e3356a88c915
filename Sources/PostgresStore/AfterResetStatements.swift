import Credentials
import Foundation
import PasswordReset

/// The statements of `AFTER_RESET` for one database.
struct AfterResetStatements: Sendable {
  /// Where the value of a parameter comes from.
  private enum Parameter: Sendable {
    case userID, now
    case randomText(Int)
    case uuid(isDigits: Bool)
  }

  /// A statement with its parameters, in the order of their numbers.
  private struct Step: Sendable {
    var statement: Statement
    var parameters: [Parameter]
  }

  /// No list at all.
  static let none = AfterResetStatements(AfterReset())

  let afterReset: AfterReset
  /// The statements of each entry.
  private var entries: [[Step]] = []
  /// The tables of presets, as the database names them, with what the statements do there.
  private(set) var tables: [(name: String, table: AfterReset.Statement.Table)] = []

  private init(_ afterReset: AfterReset) { self.afterReset = afterReset }

  var isEmpty: Bool { entries.isEmpty }

  /// Finds the tables and columns, and changes nothing.
  /// - Throws: an error if an entry does not fit the database.
  init(_ users: UserSQL, columns: [TableColumn], _ afterReset: AfterReset, _ session: PostgresSession) throws(StoreOpenError) {
    self.afterReset = afterReset
    for (index, entry) in afterReset.entries.enumerated() {
      let number = index + 1
      var texts: [(sql: String, parameters: [Parameter])] = []
      if !entry.assignments.isEmpty { texts.append(try Self.update(entry.assignments, columns, users, afterReset.timeZone, entry: number)) }
      for statement in entry.statements {
        guard let names = try Self.tableNames(statement, of: entry, number: number, nextTo: users.table, session) else { continue }
        tables += statement.tables.map { (names[$0.name] ?? $0.name, $0) }
        texts.append(try Self.named(statement.sql { names[$0] ?? $0 }, users, entry: number))
      }
      entries.append(
        texts.enumerated().map { position, text in
          Step(statement: Statement("password_reset_after_\(number)_\(position)", text.sql), parameters: text.parameters)
        })
    }
  }

  /// Returns the names of a preset's tables in the database, or `nil` if the statement is to be left out.
  private static func tableNames(
    _ statement: AfterReset.Statement, of entry: AfterReset.Entry, number: Int, nextTo users: String, _ session: PostgresSession
  ) throws(StoreOpenError) -> [String: String]? {
    var names: [String: String] = [:]
    for table in statement.tables {
      guard let name = try UserTableCheck.tableName(table.name, nextTo: users, session) else {
        if statement.isOptional { return nil }
        guard case .preset(let preset) = entry else { continue }
        throw .missingTable(table.name, of: preset, entry: number)
      }
      names[table.name] = name
    }
    return names
  }

  /// Returns a statement whose parameters have numbers.
  private static func named(_ sql: String, _ users: UserSQL, entry: Int) throws(StoreOpenError) -> (sql: String, parameters: [Parameter]) {
    do throws(NamedParameters.Fault) {
      let keyType = users.types[users.mapping.columns[.id] ?? "id"] ?? "text"
      let named = try NamedParameters(sql, types: ["user_id": keyType, "now": UserSQL.zonedTime])
      guard named.names.contains("user_id") else {
        throw NamedParameters.Fault(reason: "the statement has :user_id only in a literal or a comment, where it is no parameter")
      }
      return (named.sql, named.names.map { $0 == "user_id" ? .userID : .now })
    } catch {
      throw .unusableAfterReset(entry: entry, error.reason)
    }
  }

  /// Returns the statement that sets columns of the user's row.
  private static func update(
    _ assignments: [AfterReset.Assignment], _ columns: [TableColumn], _ users: UserSQL, _ zone: TimeZone, entry: Int
  ) throws(StoreOpenError) -> (sql: String, parameters: [Parameter]) {
    var (list, parameters) = ([String](), [Parameter.userID])
    for assignment in assignments {
      if let fault = assignment.fault(in: columns, of: users.mapping) { throw .unusableAfterReset(entry: entry, fault) }
      guard let column = columns.first(where: { $0.isNamed(assignment.column) }) else { continue }
      let name = quoted(identifier: column.name)
      func add(_ parameter: Parameter) -> String {
        parameters.append(parameter)
        return "$\(parameters.count)"
      }
      let value =
        switch assignment.value {
        case .constant(let value): UserSQL.literal(value, type: column.type)
        case .increment: "coalesce(\(name), 0) + 1"
        case .randomText(let length): "\(add(.randomText(length)))::text::\(column.type)"
        case .uuid: "\(add(.uuid(isDigits: column.key == .uuidDigits)))::text::\(column.type)"
        case .now: time(add(.now), column.type, zone)
        }
      list.append("\(name) = \(value)")
    }
    return ("UPDATE \(users.table) SET \(list.joined(separator: ", ")) WHERE \(users.hasExactKey("$1"))", parameters)
  }

  /// Returns a time as a value of the column's type.
  private static func time(_ parameter: String, _ type: String, _ zone: TimeZone) -> String {
    let moment = "\(parameter)::\(UserSQL.zonedTime)"
    return type == UserSQL.zonedTime ? moment : "(\(moment) AT TIME ZONE \(quoted(literal: zone.postgresName)))::\(type)"
  }

  /// Returns the commands of one entry for a user.
  /// - Parameter entry: the entry's position in the list.
  func commands(_ entry: Int, for key: String?, at now: Date) -> [Command] {
    entries[entry].map { step in Command(step.statement, values: step.parameters.map { Self.value(of: $0, key, at: now) }) }
  }

  private static func value(of parameter: Parameter, _ key: String?, at now: Date) -> String? {
    switch parameter {
    case .userID: return key
    case .now: return now.ISO8601Format(.init(includingFractionalSeconds: true, timeZone: .gmt))
    case .randomText(let length): return AfterReset.randomText(length: length)
    case .uuid(let isDigits):
      let text = UUID().uuidString.lowercased()
      return isDigits ? text.replacing("-", with: "") : text
    }
  }

  /// Lets the server plan each statement, which runs none of them.
  /// - Throws: an error if the server refuses one, or if the role may not run it.
  func check(_ session: PostgresSession) throws(StoreOpenError) {
    for (index, steps) in entries.enumerated() {
      for step in steps {
        let command = Command(Statement(nil, "EXPLAIN \(step.statement.sql)"), values: step.parameters.map { _ in nil })
        do {
          _ = try session.rows(of: command)
        } catch let error as SQLError where error.state == "42501" {
          throw .missingPrivilege("\(error.message), for entry \(index + 1) of AFTER_RESET. `password-reset grants` says more")
        } catch let error as SQLError where error.isOfOneRequest {
          throw .unusableAfterReset(entry: index + 1, "PostgreSQL refuses the statement: \(error.message)")
        } catch {
          throw StoreOpenError(error)
        }
      }
    }
  }
}

extension TimeZone {
  /// The name of the zone in the tz database.
  fileprivate var postgresName: String { self == .gmt ? "UTC" : identifier }
}
