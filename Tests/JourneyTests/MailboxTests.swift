import Foundation
import FoundationNetworking
import Testing

@Suite struct `The mailbox` {
  private struct Answer {
    var status: Int
    var json: [String: Any]
  }

  private func ask(_ port: Int, _ path: String, _ method: String = "GET", host: String = "127.0.0.1") async throws -> Answer {
    var request = URLRequest(url: try #require(URL(string: "http://127.0.0.1:\(port)\(path)")))
    request.httpMethod = method
    if host != "127.0.0.1" { request.setValue(host, forHTTPHeaderField: "Host") }
    let (data, response) = try await URLSession.shared.data(for: request)
    let object = data.isEmpty ? nil : try JSONSerialization.jsonObject(with: data)
    return Answer(status: (response as? HTTPURLResponse)?.statusCode ?? 0, json: object as? [String: Any] ?? [:])
  }

  @Test func `of the memory backend is read over HTTP, so that a test needs no mail server`() async throws {
    let folder = try Folder()
    let server = try await Server.start(folder, ["EMAIL_BACKEND": "memory", "ADMIN_PORT": "0"])
    let port = try await server.adminPort()
    #expect(try await ask(port, "/mailbox/newest").status == 404)
    let status = try await server.post("/password-reset", #"{"email":"demo@example.com","locale":"es"}"#)
    let log = try server.process.text("err")
    #expect(status == 202, "\(log)")
    let newest = try await ask(port, "/mailbox/newest?to=Demo%40example.com&wait=10")
    #expect(newest.status == 200)
    #expect(newest.json["to"] as? String == "demo@example.com" && newest.json["language"] as? String == "es")
    let url = try #require(newest.json["reset_url"] as? String)
    #expect((newest.json["text"] as? String)?.contains(url) == true && (newest.json["html"] as? String)?.contains(url) == true)
    #expect(try await ask(port, "/mailbox/newest?to=other@example.com").status == 404)
    #expect(try await ask(port, "/mailbox/newest?to=other@example.com&wait=nan").status == 404)
    #expect((try await ask(port, "/mailbox").json["messages"] as? [Any])?.count == 1)

    // A page of a stranger's, whose name points here, reads nothing; nor does the public listener show the mails.
    #expect(try await ask(port, "/mailbox", host: "evil.example").status == 404)
    #expect(try await ask(port, "/mailbox", host: "localhost:\(port)").status == 200)
    #expect(try await ask(server.port, "/mailbox").status == 404)

    #expect(try await ask(port, "/mailbox", "DELETE").status == 204)
    #expect((try await ask(port, "/mailbox").json["messages"] as? [Any])?.isEmpty == true)
    #expect(try await ask(port, "/mailbox/newest?wait=soon").status == 404)

    let second = try await folder.run(["serve", "--dev"], ["HTTP_PORT": "0", "EMAIL_BACKEND": "memory", "ADMIN_PORT": "\(port)"])
    #expect(second.status == 1 && second.errors.contains("ADMIN_PORT"))
    server.process.terminate()
    #expect(await server.process.exited() == 0)
  }

  @Test func `is not there outside development`() async throws {
    let folder = try Folder()
    let environment = ["SECRET_KEY": Harness.secretKey, "HTTP_PORT": "0", "EMAIL_BACKEND": "memory", "ADMIN_PORT": "0"]
    let command = try RunningCommand(["serve"], environment, in: folder.path)
    let line = /"listener":"admin","message":"Server started and listening on 127.0.0.1:(\d+)"/
    try await eventually("the admin listener to listen") { try command.text("err").contains(line) }
    let port = try #require(try command.text("err").firstMatch(of: line)).1
    let url = try #require(URL(string: "http://127.0.0.1:\(port)"))
    for (path, status) in ["mailbox": 404, "mailbox/newest": 404, "health/live": 200] {
      let (_, response) = try await URLSession.shared.data(from: url.appendingPathComponent(path))
      #expect((response as? HTTPURLResponse)?.statusCode == status, "\(path)")
    }
    command.terminate()
    #expect(await command.exited() == 0)
  }
}
