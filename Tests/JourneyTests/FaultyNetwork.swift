import Foundation
import Synchronization
import Testing

/// Which message between the service and PostgreSQL a fault meets.
struct NetworkFault: FaultKind {
  enum Kind: Sendable, Equatable {
    /// The connection ends before a message of the service reaches the server.
    case before
    /// The connection ends after the server has handled a message of the service, and before the service has the reply.
    case after
    /// The connection ends before a message of the server reaches the service.
    case reply
    /// The server answers a statement or a commit with this SQLSTATE.
    case error(String)
  }

  var kind: Kind
  var lasts = false

  /// A statement that took too long, a transaction that lost against another one, a full disk, and a server that stops.
  private static let codes = ["57014", "40001", "53100", "57P01"]
  static let tried =
    FaultPoints.areAllTried
    ? ([.before, .after, .reply] + codes.map { .error($0) }).flatMap { kind in [false, true].map { NetworkFault(kind: kind, lasts: $0) } }
    : [.before, .after, .reply, .error("57014")].map { NetworkFault(kind: $0) }

  var description: String { "\(lasts ? "lasting" : "single") fault, \(kind)" }
}

/// A PostgreSQL database with a proxy in front of it that ends connections, or makes statements fail.
///
/// When it ends a connection, it waits until the server has ended its side, so that the outcome of a transaction does not depend on chance.
final class FaultyNetwork: FaultyDatabase {
  struct Failure: Error {
    var text: String
  }

  private struct State {
    /// The message that meets the fault, or 0 for none.
    var failing = 0
    var messages = 0
    var failure: String?
    var isClosed = false
    /// The sockets of connections to the server that still forward.
    var forwarding: Set<CInt> = []
    var open = 0
  }

  let harness: Harness
  let tables = "password_reset."
  let url: String
  private let fault: NetworkFault
  private let folder: String
  private let listener: CInt
  private let server: String
  private let state = Mutex(State())

  /// - Parameter template: the name of the database to start with, or `nil` to start with an empty one.
  init(_ fault: NetworkFault, template: String? = nil) throws {
    harness = try Harness()
    self.fault = fault
    url = try PostgresCluster.newDatabase(template: template)
    server = try PostgresCluster.socket
    // The path of a Unix socket has at most 107 characters.
    var name = Array("/tmp/prfn-XXXXXX".utf8CString)
    guard mkdtemp(&name) != nil else { throw Failure(text: "cannot create a folder in /tmp") }
    folder = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    let isBound = Self.withAddress(folder + "/.s.PGSQL.5432") { address, length in bind(listener, address, length) } == 0
    guard isBound, listen(listener, 64) == 0 else { throw Failure(text: "cannot listen in \(folder)") }
    // A thread keeps no reference to the network, so that it ends with its last user.
    Thread.detachNewThread { [weak self, listener] in
      while case let client = accept(listener, nil, nil), client >= 0 {
        guard let self else { return _ = close(client) }
        self.connect(client)
      }
    }
  }

  deinit {
    shutdown(listener, CInt(SHUT_RDWR))
    close(listener)
    try? FileManager.default.removeItem(atPath: folder)
    try? PostgresCluster.deleteDatabase(url)
  }

  var settings: [String: String] { ["DATABASE_URL": proxyURL] }

  /// The URL of the database through the proxy.
  var proxyURL: String { "postgresql:///\(PostgresCluster.name(in: url))?host=\(folder)&user=postgres" }

  var failure: String? { state.withLock(\.failure) }

  func fail(at point: Int) { state.withLock { ($0.failing, $0.messages, $0.failure) = (point, 0, nil) } }

  func repair() { state.withLock { ($0.failing, $0.isClosed) = (0, false) } }

  func closed() async throws { try await eventually("the connections to end") { state.withLock(\.open) == 0 } }

  func text(_ query: String) throws -> String { try PostgresCluster.sql(query, url: url) }

  func expectIntact(_ comment: Comment) throws {}

  // MARK: - Faults

  private enum Decision {
    case forward, end, forwardAndEnd
    case replace([UInt8])
  }

  private func decide(_ message: ArraySlice<UInt8>, isFirst: Bool, fromServer: Bool) -> Decision {
    let type = isFirst ? UInt8(ascii: "1") : message.first ?? 0
    let counts =
      switch fault.kind {
      case .before, .after: !fromServer
      case .reply: fromServer
      case .error: !fromServer && !isFirst && [UInt8(ascii: "E"), UInt8(ascii: "S")].contains(type)
      }
    guard counts else { return .forward }
    return state.withLock { state in
      state.messages += 1
      let isMet = state.failing > 0 && (fault.lasts ? state.messages >= state.failing : state.messages == state.failing)
      guard isMet else { return .forward }
      state.failure = state.failure ?? "message \(Character(UnicodeScalar(type)))"
      switch fault.kind {
      case .error(let code): return .replace(Self.failingStatement(code) + (type == UInt8(ascii: "S") ? Array(message) : []))
      case .before, .reply, .after:
        if fault.lasts {
          state.isClosed = true
          for server in state.forwarding { shutdown(server, CInt(SHUT_WR)) }
        }
        return fault.kind == .after ? .forwardAndEnd : .end
      }
    }
  }

  /// Returns the messages that run an unnamed statement which raises an error.
  private static func failingStatement(_ code: String) -> [UInt8] {
    func message(_ type: Character, _ body: [UInt8]) -> [UInt8] {
      [type.asciiValue ?? 0] + withUnsafeBytes(of: UInt32(body.count + 4).bigEndian, Array.init) + body
    }
    let statement = "DO $$ BEGIN RAISE EXCEPTION 'fault' USING ERRCODE = '\(code)'; END $$"
    return message("P", [0] + Array(statement.utf8) + [0, 0, 0]) + message("B", [0, 0, 0, 0, 0, 0, 0, 0]) + message("E", [0, 0, 0, 0, 0])
  }

  // MARK: - Connections

  private func connect(_ client: CInt) {
    let upstream = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    let isAccepted = state.withLock { state in
      guard !state.isClosed else { return false }
      state.forwarding.insert(upstream)
      state.open += 1
      return true
    }
    let isConnected = isAccepted && Self.withAddress(server) { address, length in Foundation.connect(upstream, address, length) } == 0
    guard isConnected else {
      if isAccepted { forget(upstream) }
      close(client)
      close(upstream)
      return
    }
    let connection = Connection(client: client, server: upstream)
    Thread.detachNewThread { self.forward(connection, fromServer: false) }
    Thread.detachNewThread { self.forward(connection, fromServer: true) }
  }

  private func forget(_ server: CInt) {
    state.withLock { state in
      state.forwarding.remove(server)
      state.open -= 1
    }
  }

  private final class Connection: Sendable {
    let client: CInt
    let server: CInt
    /// Whether the service gets nothing more.
    let isEnding = Atomic(false)
    private let threads = Atomic(2)

    init(client: CInt, server: CInt) { (self.client, self.server) = (client, server) }

    /// Returns whether the other thread has left before.
    func leave() -> Bool { threads.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
  }

  /// Forwards the messages of one side until one of them ends the connection.
  private func forward(_ connection: Connection, fromServer: Bool) {
    let (source, target) = fromServer ? (connection.server, connection.client) : (connection.client, connection.server)
    var messages = MessageBuffer(hasStarted: fromServer)
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = recv(source, &chunk, chunk.count, 0), count > 0 {
      if state.withLock(\.isClosed) { connection.isEnding.store(true, ordering: .relaxed) }
      if connection.isEnding.load(ordering: .relaxed) {
        if fromServer { continue } else { break }
      }
      messages.append(chunk[..<count])
      while let (message, isFirst) = messages.next() {
        if connection.isEnding.load(ordering: .relaxed) { break }
        switch decide(message, isFirst: isFirst, fromServer: fromServer) {
        case .forward: Self.send(message, to: target)
        case .replace(let other): Self.send(other[...], to: target)
        case .end: end(connection)
        case .forwardAndEnd:
          connection.isEnding.store(true, ordering: .relaxed)
          Self.send(message, to: target)
          end(connection)
        }
      }
    }
    if fromServer {
      // The server has ended its side, so what it did is decided.
      forget(connection.server)
      shutdown(connection.client, CInt(SHUT_RDWR))
    } else {
      shutdown(connection.server, CInt(SHUT_WR))
    }
    if connection.leave() {
      close(connection.client)
      close(connection.server)
    }
  }

  private func end(_ connection: Connection) {
    connection.isEnding.store(true, ordering: .relaxed)
    shutdown(connection.server, CInt(SHUT_WR))
  }

  private static func send(_ bytes: ArraySlice<UInt8>, to target: CInt) {
    bytes.withUnsafeBytes { buffer in
      var sent = 0
      while sent < buffer.count {
        let count = Foundation.send(target, buffer.baseAddress?.advanced(by: sent), buffer.count - sent, CInt(MSG_NOSIGNAL))
        guard count > 0 else { return }
        sent += count
      }
    }
  }

  private static func withAddress<Result>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}

/// Splits a stream of PostgreSQL's protocol into messages.
private struct MessageBuffer {
  private var bytes: [UInt8] = []
  /// Whether the first message was read, which has no type.
  private var hasStarted: Bool

  init(hasStarted: Bool) { self.hasStarted = hasStarted }

  mutating func append(_ chunk: ArraySlice<UInt8>) { bytes += chunk }

  /// Returns the next complete message, and whether it is the first one of a client.
  mutating func next() -> (ArraySlice<UInt8>, isFirst: Bool)? {
    let start = hasStarted ? 1 : 0
    guard bytes.count >= start + 4 else { return nil }
    let length = start + bytes[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
    guard bytes.count >= length else { return nil }
    defer {
      bytes.removeFirst(length)
      hasStarted = true
    }
    return (bytes[..<length], !hasStarted)
  }
}
