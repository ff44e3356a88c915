/// The commands of requests that are sent together, of which some share a statement.
struct Batch {
  /// A statement that is sent once, with the values of each command that shares it.
  private struct Group {
    var statement: Statement
    var values: [[String?]]

    var command: Command {
      guard case .rows(let several) = statement.sharing, values.count > 1 else {
        var command = Command(statement)
        command.values = values[0]
        return command
      }
      var command = Command(Statement(statement.name.map { "\($0)_several" }, several))
      command.values = values[0].indices.map { column in Self.array(values.map { $0[column] }) }
      return command
    }

    /// Returns the text of an array.
    private static func array(_ elements: [String?]) -> String {
      var text = "{"
      for element in elements {
        if text.utf8.count > 1 { text += "," }
        text += element.map { "\"\(escaped($0))\"" } ?? "NULL"
      }
      return text + "}"
    }

    private static func escaped(_ element: String) -> String {
      guard element.utf8.contains(where: { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") }) else { return element }
      return element.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    }
  }

  /// Where the result of a command is.
  private struct Place {
    var group: Int
    /// The position among the commands that share the statement.
    var position: Int
  }

  private var groups: [Group] = []
  /// The groups of statements that are shared, by their names.
  private var shared: [String?: Int] = [:]
  private var places: [[Place]] = []

  init(_ requests: [[Command]]) {
    for request in requests {
      var places: [Place] = []
      for command in request { places.append(add(command)) }
      self.places.append(places)
    }
  }

  private mutating func add(_ command: Command) -> Place {
    let statement = command.statement
    guard let group = shared[statement.name] else {
      if case .none = statement.sharing {} else { shared[statement.name] = groups.count }
      groups.append(Group(statement: statement, values: [command.values]))
      return Place(group: groups.count - 1, position: 0)
    }
    if case .rows = statement.sharing { groups[group].values.append(command.values) }
    return Place(group: group, position: groups[group].values.count - 1)
  }

  /// Whether there are fewer statements than commands.
  var sharesStatements: Bool { groups.count < places.reduce(0) { $0 + $1.count } }

  /// What to send.
  var commands: [Command] { groups.map(\.command) }

  /// Returns the results of each request's commands.
  func results(_ rows: [Rows]) -> [[Rows]] {
    places.map { places in
      places.map { place in
        let (all, sharers) = (rows[place.group], groups[place.group].values.count)
        if sharers == 1 { return all }
        // If a trigger suppressed a row, no one knows whose it was.
        return all.only(all.count == sharers ? place.position : nil)
      }
    }
  }
}
