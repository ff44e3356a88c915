import Credentials

/// The program that the Python benchmarks compare the service with: the bare server, and the password hashers alone.
@main
struct Command {
  static func main() async throws {
    switch CommandLine.arguments.dropFirst().first {
    case "serve": try await runBareServer()
    case "hash": print(try hashTime(PasswordHashers.make(CommandLine.arguments.dropFirst(2).first ?? "pbkdf2_sha256")))
    default: print("usage: BareServer serve | hash [algorithm]")
    }
  }

  /// Returns the median time of five hashes at Django's default cost, in seconds.
  private static func hashTime(_ hasher: any PasswordHasher) throws -> Double {
    let times = try (0..<5).map { _ in
      let start = ContinuousClock.now
      _ = try hasher.encode("a-Fine-pass-77")
      return (ContinuousClock.now - start) / .seconds(1)
    }
    return times.sorted()[2]
  }
}
