import Foundation

/// Debian's load generator, `wrk`, on this machine alone and for a bounded time.
struct Wrk {
  enum Load {
    /// Each of the paths in turn.
    case get([String])
    /// `{"email": …}` of each of the users in turn.
    case post(String, users: Int)
    /// A new password for each of the links, each link once.
    case confirm([String])
  }

  struct Result {
    var rate: Double
    /// Milliseconds.
    var p99: Double
    /// Replies that are no success, and broken connections.
    var failed: Int
  }

  struct Unreadable: Error {
    var output: String
  }

  let connections: Int
  let seconds: Int
  let folder: String
  private static let threads = 2

  func run(_ load: Load, port: Int, round: Int) throws -> Result {
    let script = "\(folder)/load.lua"
    try lua(load, round: round).write(toFile: script, atomically: true, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/wrk")
    process.arguments = [
      "-t\(Self.threads)", "-c\(connections)", "-d\(seconds)s", "--timeout", "30s", "--latency", "-s", script, "http://127.0.0.1:\(port)",
    ]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    return try parse(output)
  }

  /// Every thread walks the list from a place of its own, and no two take the same entry.
  private func lua(_ load: Load, round: Int) throws -> String {
    let walk = """
      local threads = 0
      function setup(thread) thread:set("id", threads); threads = threads + 1 end
      local step = 0
      local function turn(size) step = step + 1; return (id + (step - 1) * \(Self.threads)) % size + 1 end

      """
    switch load {
    case .get(let paths):
      return walk + list(paths) + "function request() return wrk.format('GET', list[turn(#list)]) end"
    case .post(let path, let users):
      return walk + """
        local headers = {["Content-Type"] = "application/json"}
        function request()
          return wrk.format('POST', '\(path)', headers, '{"email": "user' .. (turn(\(users)) - 1) .. '@example.com"}')
        end
        """
    case .confirm(let links):
      // Each round spends links of its own.
      let share = links.count / 3
      return walk + list(Array(links.dropFirst(round * share).prefix(share))) + """
        local headers = {["Content-Type"] = "application/json"}
        function request()
          return wrk.format('POST', list[turn(#list)], headers, '{"new_password1": "a-Fine-pass-77", "new_password2": "a-Fine-pass-77"}')
        end
        """
    }
  }

  private func list(_ paths: [String]) -> String { "local list = {\(paths.map { "'\($0)'" }.joined(separator: ","))}\n" }

  private func parse(_ output: String) throws -> Result {
    guard let rate = output.firstMatch(of: /Requests\/sec:\s+([0-9.]+)/)?.1, let p99 = output.firstMatch(of: /99%\s+([0-9.]+)([a-z]+)/),
      let perSecond = Double(rate), let value = Double(p99.1)
    else { throw Unreadable(output: output) }
    let milliseconds: [String: Double] = ["us": 0.001, "ms": 1, "s": 1000, "m": 60_000]
    let unit = milliseconds[String(p99.2)] ?? 1
    let refused = output.firstMatch(of: /Non-2xx or 3xx responses: (\d+)/).flatMap { Int($0.1) } ?? 0
    let broken = output.matches(of: /(?:connect|read|write|timeout) (\d+)/).compactMap { Int($0.1) }.reduce(0, +)
    return Result(rate: perSecond, p99: value * unit, failed: refused + broken)
  }
}
