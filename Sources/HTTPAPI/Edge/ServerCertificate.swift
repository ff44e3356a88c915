public import Logging
import NIOCertificateReloading
import NIOSSL
public import ServiceLifecycle
import Synchronization

/// The certificate that the service shows and its key, read anew from their files every few seconds: a renewed one serves the connections that come, and
/// those that are there go on.
public final class ServerCertificate: Service {
  /// Why the files do not serve.
  public enum Fault: Error {
    /// The file is no certificate, or chain of them, in PEM; or it cannot be read.
    case certificate
    /// The file is no private key in PEM, or it is encrypted; or it cannot be read.
    case key
    /// The key is not the certificate's.
    case mismatch
  }

  private static let interval = Duration.seconds(2)

  private let reloader: TimedCertificateReloader
  let tls: TLSConfiguration

  /// - Parameters:
  ///   - certificateFile: PEM, the service's own certificate first.
  ///   - keyFile: PEM, not encrypted.
  public init(certificateFile: String, keyFile: String, logger: Logger) throws(Fault) {
    // The reloader's errors do not say which file is at fault; and what a parser finds wrong may show lines of the key, which are not printed.
    guard let certificates = try? NIOSSLCertificate.fromPEMFile(certificateFile), !certificates.isEmpty else { throw .certificate }
    guard (try? NIOSSLPrivateKey(file: keyFile, format: .pem)) != nil else { throw .key }
    var configuration = TimedCertificateReloader.Configuration(
      refreshInterval: Self.interval, certificateSource: .init(location: .file(path: certificateFile), format: .pem),
      privateKeySource: .init(location: .file(path: keyFile), format: .pem))
    // What fails at the start is thrown, and what fails later is logged once, not every few seconds.
    let hasFailed = Flag(true)
    configuration.onCertificateLoaded = { change in
      hasFailed.set(false)
      if let previous = change.previousX509CertificateChain, previous != change.currentX509CertificateChain {
        logger.notice("The certificate was replaced")
      }
    }
    configuration.onCertificateLoadFailed = { failure in
      guard hasFailed.set(true) else { return }
      // The parser's errors may hold lines of the key.
      let reason = (failure.error as? TimedCertificateReloader.Error).map { "\($0)" } ?? "a file is no certificate or key in PEM"
      logger.error(
        "The new certificate cannot be used, the old one stays; see HTTP_SSL_CERTFILE and HTTP_SSL_KEYFILE", metadata: ["reason": "\(reason)"])
    }
    do {
      reloader = try TimedCertificateReloader.makeReloaderValidatingSources(configuration: configuration)
      var tls = try TLSConfiguration.makeServerConfiguration(certificateReloader: reloader)
      tls.minimumTLSVersion = .tlsv12
      self.tls = tls
    } catch let error as TimedCertificateReloader.Error where error == .publicKeyMismatch {
      throw .mismatch
    } catch {
      throw .key
    }
  }

  public func run() async throws { try await reloader.run() }

  private final class Flag: Sendable {
    private let isSet: Mutex<Bool>

    init(_ value: Bool) { isSet = Mutex(value) }

    /// Whether it was not so before.
    @discardableResult func set(_ value: Bool) -> Bool {
      isSet.withLock { isSet in
        defer { isSet = value }
        return isSet != value
      }
    }
  }
}
