import Foundation

/// Random numbers that a seed decides (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: Int) { state = UInt64(seed) &* 0x2545_F491_4F6C_DD1D &+ 1 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func pick<Element>(_ choices: [Element]) -> Element { choices[Int.random(in: choices.indices, using: &self)] }

  /// Returns a choice. Most are of those that work, because one that does not decides the case alone.
  mutating func pick<Element>(_ choices: [Element], _ verdict: (Element) -> Verdict) -> Element {
    once(in: 3) ? pick(choices) : pick(choices.filter { verdict($0) != .refused })
  }

  /// Returns true once in `count` calls.
  mutating func once(in count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }
}

/// What must happen when the service starts on a table.
enum Verdict: Sendable {
  case works, refused, either

  /// The verdict for two features of one table.
  func and(_ other: Verdict) -> Verdict {
    if self == .refused || other == .refused { return .refused }
    return self == .either ? self : other
  }
}

/// The quoted names that a declaration may need.
struct QuotedNames {
  var table, id, email, password, other: String
}

/// A way to declare a column.
struct Declaration {
  var sql: (QuotedNames) -> String
  /// SQL literals for the three rows: the user who resets the password, another one, and one who is not active. Empty if the
  /// database computes the values.
  var values: [String]
  var verdict: Verdict
  /// Statements that run after the rows are there.
  var after: (QuotedNames) -> [String] = { _ in [] }

  init(_ sql: String, _ values: [String], _ verdict: Verdict = .works, after: @escaping (QuotedNames) -> [String] = { _ in [] }) {
    self.init({ _ in sql }, values, verdict, after: after)
  }

  init(
    _ sql: @escaping (QuotedNames) -> String, _ values: [String], _ verdict: Verdict = .works,
    after: @escaping (QuotedNames) -> [String] = { _ in [] }
  ) {
    (self.sql, self.values, self.verdict, self.after) = (sql, values, verdict, after)
  }
}

/// The condition for an active user.
struct Activity {
  /// The JSON value of `is_active`, if its column has this name.
  var json: (String) -> Any
  /// The column, or `nil` if there is none.
  var column: Declaration?
  var verdict = Verdict.works
}

/// Statements that change what an update of the table does.
struct Obstacle {
  var statements: (QuotedNames) -> [String]
  var verdict: Verdict
  /// Whether each update of a user changes the column `other` of the user's row.
  var changesOther = false
}

/// The choices of one database.
protocol TableDialect {
  var ids: [Declaration] { get }
  var emails: [Declaration] { get }
  var passwords: [Declaration] { get }
  var activities: [Activity] { get }
  var obstacles: [Obstacle] { get }
  var loginType: String { get }
  /// The longest name, in bytes.
  var nameLimit: Int { get }
  /// Whether `a` and `A` are different columns.
  var distinguishesCase: Bool { get }
  /// Returns statements that create the table with the column definitions, and whether it can be used.
  func create(_ table: String, _ columns: [String], id: String, using generator: inout SeededGenerator) -> (statements: [String], verdict: Verdict)
}

/// Names that no careful person would choose.
struct OddNames {
  private static let parts = [
    "select", "order", "group", "user", "table", "index", "primary", "default", "null", "true", "rowid", "oid", "changed", "audit", "jobs", "public",
    "name", "Mixed", "a b", " ", "a\"b", "\"", "\"\"", "'", "''", "`", "[x]", "\\", "\\'", ";", "--", "/*", "*/", "%", "%s", "%I", "$1", "$$", "?1",
    ":a", "@a",
    "{}", "{0}", "\\(x)", ".", "a.b", "caf\u{e9}", "e\u{301}", "\u{212b}", "\u{202e}txt", "\u{5e9}\u{5dc}", "\u{1f511}", "\u{1f469}\u{200d}\u{1f4bb}",
    "\u{130}", "\u{df}", "'); DROP TABLE canary; --", "\"; DROP TABLE canary; --", "x\" = 1; DELETE FROM canary; --", "' OR ''='", "1", "-1", "#",
    "&", "\u{a0}",
  ]
  private var taken: [String] = []

  /// Returns a name that differs from all before, also for a database that ignores capitals.
  mutating func make(limit: Int, using generator: inout SeededGenerator) -> String {
    while true {
      var name = ""
      for _ in 0...Int.random(in: 0..<2, using: &generator) { name += generator.pick(Self.parts) }
      if generator.once(in: 12) { name += String(repeating: "x", count: limit - min(limit, name.utf8.count)) }
      // The settings refuse the name of a table that begins or ends with white space, or is in quotation marks.
      guard (1...limit).contains(name.utf8.count), !isTaken(name), name == name.trimmingCharacters(in: .whitespaces),
        !["\"", "'"].contains(where: { name.hasPrefix($0) && name.hasSuffix($0) })
      else { continue }
      taken.append(name)
      return name
    }
  }

  /// Adds the name of another column, or returns `nil` if there is one.
  mutating func claim(_ name: String) -> String? {
    if taken.contains(where: { $0.utf8.elementsEqual(name.utf8) }) { return nil }
    taken.append(name)
    return name
  }

  private func isTaken(_ name: String) -> Bool { taken.contains { $0.lowercased() == name.lowercased() } }
}

func quoted(_ name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }

func literal(_ text: String) -> String { "'\(text.replacing("'", with: "''"))'" }

/// A users table with random names and features, and the settings that describe it.
struct RandomUserTable: Sendable {
  static let addresses = ["target@example.com", "other@example.com", "inactive@example.com"]
  static let hash = "legacy-1"

  let name: String
  private(set) var statements: [String] = []
  private(set) var columns: [String] = []
  private(set) var verdict = Verdict.works
  /// The value of `USERS_COLUMNS`.
  private(set) var usersColumns = ""
  private(set) var isInactiveKnown = false
  private(set) var changesOther = false
  let id, email, password, other: String

  /// - Parameter seed: decides everything.
  init(seed: Int, _ dialect: some TableDialect, prefix: String = "") throws {
    var generator = SeededGenerator(seed: seed)
    var names = OddNames()
    func name() -> String { names.make(limit: dialect.nameLimit, using: &generator) }
    self.name = name()
    (id, email, password, other) = (name(), name(), name(), name())
    let table = prefix + quoted(self.name)
    let all = QuotedNames(table: table, id: quoted(id), email: quoted(email), password: quoted(password), other: quoted(other))
    var fields: [(name: String, sql: String, values: [String])] = []
    var after: [String] = []
    func add(_ name: String, _ declaration: Declaration) {
      fields.append((name, declaration.sql(all), declaration.values))
      after += declaration.after(all)
      verdict = verdict.and(declaration.verdict)
    }
    add(id, generator.pick(dialect.ids, \.verdict))
    add(email, generator.pick(dialect.emails, \.verdict))
    add(password, generator.pick(dialect.passwords, \.verdict))
    add(other, Declaration("TEXT", Self.addresses.map { literal($0) }))
    var settings: [String: Any] = ["id": id, "email": email, "password": password]
    for column in ["username", "first_name", "last_login"] {
      if generator.once(in: 2) {
        settings[column] = NSNull()
      } else {
        let name = name()
        settings[column] = name
        let isTime = column == "last_login"
        add(
          name,
          Declaration(
            isTime ? dialect.loginType : "VARCHAR(150)", Array(repeating: isTime ? "'2026-01-02 03:04:05'" : "'decoy@example.net'", count: 3)))
      }
    }
    let activity = generator.pick(dialect.activities) { $0.verdict.and($0.column?.verdict ?? .works) }
    let active = name()
    settings["is_active"] = activity.json(active)
    verdict = verdict.and(activity.verdict)
    if let column = activity.column { add(active, column) }
    isInactiveKnown = activity.column != nil
    // Columns whose names look like the others.
    for name in [id, email, password, active] {
      let twins =
        [name.precomposedStringWithCanonicalMapping, name.decomposedStringWithCanonicalMapping]
        + (dialect.distinguishesCase ? [name.uppercased()] : [])
      for twin in twins where twin.utf8.count <= dialect.nameLimit {
        if let twin = names.claim(twin) { add(twin, Declaration("TEXT", ["'decoy@example.net'", "'legacy-1'", "'target@example.com'"])) }
      }
    }
    if generator.once(in: 15) {
      // A name that is wrong by one letter.
      let column = generator.pick(["id", "email", "password"])
      settings[column] = "\(settings[column] ?? "")x"
      verdict = .refused
    } else if generator.once(in: 30) {
      settings["password"] = generator.pick([email, id])
      verdict = .refused
    }
    usersColumns = String(decoding: try JSONSerialization.data(withJSONObject: settings, options: [.sortedKeys]), as: UTF8.self)
    fields.shuffle(using: &generator)
    columns = fields.map(\.name)
    let created = dialect.create(table, fields.map { "\(quoted($0.name)) \($0.sql)" }, id: quoted(id), using: &generator)
    verdict = verdict.and(created.verdict)
    statements = ["CREATE TABLE canary (value TEXT)", "INSERT INTO canary VALUES ('alive')"] + created.statements
    let written = fields.filter { !$0.values.isEmpty }
    for row in 0..<3 {
      statements.append(
        "INSERT INTO \(table) (\(written.map { quoted($0.name) }.joined(separator: ", "))) VALUES (\(written.map { $0.values[row] }.joined(separator: ", ")))"
      )
    }
    let obstacle = generator.once(in: 3) ? generator.pick(dialect.obstacles, \.verdict) : nil
    statements += after + (obstacle?.statements(all) ?? [])
    verdict = verdict.and(obstacle?.verdict ?? .works)
    changesOther = obstacle?.changesOther ?? false
  }

  /// The position of a column.
  func position(of name: String) -> Int { columns.firstIndex { $0.utf8.elementsEqual(name.utf8) }! }
}
