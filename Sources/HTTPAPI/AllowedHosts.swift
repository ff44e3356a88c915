import Hummingbird

/// The names that a request's Host header may use.
///
/// Without this check, a website could point its own domain name at this machine and read the responses (DNS rebinding).
struct AllowedHosts: Sendable {
  let names: [String]

  func check(_ request: Request) throws(Problem) {
    // A request without the header is HTTP/1.0, so no browser sent it.
    guard let host = request.head.authority else { return }
    let name = host.hasPrefix("[") ? host.prefix { $0 != "]" } + "]" : host.prefix { $0 != ":" }
    if !names.contains(name.lowercased()) { throw Problem(.notFound, "The Host header must be one of \(names.joined(separator: ", ")).") }
  }
}
