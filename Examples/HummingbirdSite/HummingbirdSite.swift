import Foundation
import Hummingbird
import Logging
import Mail
import NIOCore
import PasswordReset
import PasswordResetKit
import SQLiteStore

/// A site with a page on which its users reset their passwords. It prints emails to the terminal, and runs until Ctrl-C.
@main
struct HummingbirdSite {
  static func main() async throws {
    let port = ProcessInfo.processInfo.environment["PORT"].flatMap { Int($0) } ?? 3000
    let store = try SQLiteStore(path: "site.sqlite3")
    try store.migrate()
    // Alice has no password yet. On later runs the name is taken.
    _ = try await store.addUser(username: "alice", email: "alice@example.com", password: "", at: Date())

    guard let resetURL = ResetURL("http://localhost:\(port)/?uid={uid}&token={token}") else { fatalError("The URL is invalid.") }
    let configuration = try PasswordResetKit.Configuration(
      secretKey: "replace-this-key-with-a-random-secret", resetURL: resetURL, siteName: "Example", sender: "noreply@example.com")
    let kit = PasswordResetKit(configuration, store: store, backend: ConsoleBackend(), logger: Logger(label: "site"))

    let router = Router(context: SiteRequestContext.self)
    router.get("/") { _, _ in
      let page = ByteBuffer(bytes: PackageResources.page_html)
      return Response(status: .ok, headers: [.contentType: "text/html; charset=utf-8"], body: .init(byteBuffer: page))
    }
    router.addRoutes(kit.routes(), atPath: "/account")
    let address = BindAddress.hostname("127.0.0.1", port: port)
    try await Application(router: router, configuration: .init(address: address), services: kit.services).runService()
  }
}

/// The rate limits count the requests of each address.
struct SiteRequestContext: RemoteAddressRequestContext {
  var coreContext: CoreRequestContextStorage
  let remoteAddress: SocketAddress?

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    remoteAddress = source.channel.remoteAddress
  }
}
