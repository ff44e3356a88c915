import Foundation
import GRDB
import Testing

@testable import App

/// `password-reset health`, as a container runs it.
@Suite struct `The health command` {
  @Test func `exits 0 while the service is ready, and 1 when its database fails or it has ended`() async throws {
    let folder = try Folder()
    let server = try await Server.start(folder, ["ADMIN_PORT": "0"])
    let port = ["HTTP_PORT": "\(server.port)"]
    let ready = try await folder.run(["health"], port)
    #expect(ready.status == 0 && ready.output == "ready\n" && ready.errors.isEmpty, "\(ready.errors)")
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    try DatabaseQueue(path: folder.path + "/password-reset.sqlite3", configuration: configuration).inDatabase { db in
      try db.execute(sql: "DROP TABLE password_reset_outbox")
    }
    let failing = try await folder.run(["health"], port)
    #expect(failing.status == 1 && failing.output.isEmpty && failing.errors.contains("answers 503"), "\(failing.errors)")
    server.process.kill()
    await server.process.exited()
    let gone = try await folder.run(["health"], port)
    #expect(gone.status == 1 && gone.output.isEmpty && gone.errors.contains("not ready"), "\(gone.errors)")
  }

  @Test(arguments: ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
  func `asks no proxy`(_ name: String) async throws {
    let folder = try Folder()
    let server = try await Server.start(folder, ["ADMIN_PORT": "0"])
    #expect(try await folder.run(["health"], ["HTTP_PORT": "\(server.port)", name: "http://127.0.0.1:1"]).status == 0)
    server.process.terminate()
    await server.process.exited()
  }

  @Test func `gives up after three seconds on a service that takes connections and does not answer`() async throws {
    let listener = try SilentListener()
    defer { listener.stop() }
    let run = try await Folder().run(["health"], ["HTTP_PORT": "\(listener.port)"])
    #expect(run.status == 1 && run.errors.contains("Timeout was reached"), "\(run.errors)")
  }

  @Test func `needs the listener's settings alone, and these to be right`() async throws {
    let folder = try Folder()
    #expect(try await folder.run(["health"], ["HTTP_PORT": "1", "EMAIL_BACKEND": "pigeon", "SECRET_KEY": "short"]).status == 1)
    let unknown = try await folder.run(["health"], ["HTTP_PORT": "0"])
    #expect(unknown.status == 1 && unknown.errors.contains("HTTP_PORT is 0"))
    let wrong = try await folder.run(["health"], ["HTTP_PORT": "x"])
    #expect(wrong.status == 78 && wrong.errors.contains("HTTP_PORT"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }

  @Test(arguments: [
    ("127.0.0.1", "http://127.0.0.1:8080/health/ready"), ("0.0.0.0", "http://127.0.0.1:8080/health/ready"),
    ("", "http://127.0.0.1:8080/health/ready"), ("::", "http://[::1]:8080/health/ready"), ("::1", "http://[::1]:8080/health/ready"),
    ("fe80::1%eth0", "http://[fe80::1%25eth0]:8080/health/ready"), ("app.internal", "http://app.internal:8080/health/ready"),
  ])
  func `finds the listener from its own machine`(_ host: String, _ url: String) {
    #expect(HealthCommand.url(host: host, port: 8080, isTLS: false) == url)
    #expect(HealthCommand.url(host: host, port: 8080, isTLS: true) == url.replacing("http://", with: "https://"))
  }
}

/// Takes connections, as the system does for it, and never answers.
private struct SilentListener {
  let port: Int
  private let descriptor: Int32

  init() throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && listen(descriptor, 8) == 0 && getsockname(descriptor, address, &length) == 0
      }
    }
    try #require(isListening)
    self.descriptor = descriptor
    port = Int(UInt16(bigEndian: address.sin_port))
  }

  func stop() { close(descriptor) }
}
