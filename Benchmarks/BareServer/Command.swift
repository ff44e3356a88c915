import Credentials

/// The program that the Python benchmarks compare the service with: the bare server, and the password hashers alone.
@main
struct Command {
  static func main() async throws {
    let arguments = CommandLine.arguments.dropFirst()
    switch arguments.first {
    case "serve": try await runBareServer()
    case "hash": print(try hashTime(hasher(arguments.dropFirst())))
    default: print("usage: BareServer serve | hash [algorithm [option=value …]]")
    }
  }

  /// Returns the hasher that arguments such as `argon2 time_cost=1` describe. An option that is missing has Django's default
  /// value.
  private static func hasher(_ arguments: ArraySlice<String>) throws -> any PasswordHasher {
    let options = try arguments.dropFirst().map { argument in
      let parts = argument.split(separator: "=")
      guard parts.count == 2, let value = Int(parts[1]) else { throw InvalidOption(argument: argument) }
      return (String(parts[0]), value)
    }
    return try PasswordHashers.make(arguments.first ?? "pbkdf2_sha256", options: Dictionary(options) { _, last in last })
  }

  private struct InvalidOption: Error {
    var argument: String
  }

  /// Returns the median time of five hashes, in seconds.
  private static func hashTime(_ hasher: any PasswordHasher) throws -> Double {
    let times = try (0..<5).map { _ in
      let start = ContinuousClock.now
      _ = try hasher.encode("a-Fine-pass-77")
      return (ContinuousClock.now - start) / .seconds(1)
    }
    return times.sorted()[2]
  }
}
