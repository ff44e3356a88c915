public import Logging
import NIOCertificateReloading
import NIOSSL
public import ServiceLifecycle
import Synchronization

/// A certificate and its private key, read again from their files every few seconds.
///
/// New connections use a renewed certificate; open connections continue with the old one.
public final class ReloadingCertificate: Service {
  /// Why the files cannot be used.
  public enum Fault: Error {
    /// The file cannot be read, or it is not a certificate or a chain of certificates in PEM.
    case certificate
    /// The file cannot be read, or it is not an unencrypted private key in PEM.
    case key
    /// The key does not belong to the certificate.
    case mismatch
  }

  /// All suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 section 4.2). Those of TLS 1.3 have both.
  private static let suitesOfTLS12 = "ECDHE+AESGCM:ECDHE+CHACHA20"
  private static let interval = Duration.seconds(2)

  private let reloader: TimedCertificateReloader
  let tls: TLSConfiguration

  /// - Parameters:
  ///   - certificateFile: PEM, with the service's certificate first.
  ///   - keyFile: PEM, not encrypted.
  public init(certificateFile: String, keyFile: String, logger: Logger) throws(Fault) {
    // Parse the files here first, because the reloader's errors do not say which file is wrong. The parser's own errors
    // are not logged, because they can contain lines of the key.
    guard let certificates = try? NIOSSLCertificate.fromPEMFile(certificateFile), !certificates.isEmpty else { throw .certificate }
    guard (try? NIOSSLPrivateKey(file: keyFile, format: .pem)) != nil else { throw .key }
    var configuration = TimedCertificateReloader.Configuration(
      refreshInterval: Self.interval, certificateSource: .init(location: .file(path: certificateFile), format: .pem),
      privateKeySource: .init(location: .file(path: keyFile), format: .pem))
    // Failures at startup are thrown. A later failure is logged once, not at every interval.
    let hasFailed = Atomic(true)
    configuration.onCertificateLoaded = { change in
      hasFailed.store(false, ordering: .relaxed)
      if let previous = change.previousX509CertificateChain, previous != change.currentX509CertificateChain {
        logger.notice("The certificate was replaced")
      }
    }
    configuration.onCertificateLoadFailed = { failure in
      guard !hasFailed.exchange(true, ordering: .relaxed) else { return }
      // As above: the parser's errors can contain lines of the key.
      let reason = (failure.error as? TimedCertificateReloader.Error).map { "\($0)" } ?? "a file is not a certificate or key in PEM"
      logger.error(
        "The new certificate cannot be used; the service keeps the old one. See HTTP_SSL_CERTFILE and HTTP_SSL_KEYFILE",
        metadata: ["reason": "\(reason)"])
    }
    do {
      reloader = try TimedCertificateReloader.makeReloaderValidatingSources(configuration: configuration)
      var tls = try TLSConfiguration.makeServerConfiguration(certificateReloader: reloader)
      tls.minimumTLSVersion = .tlsv12
      tls.cipherSuites = Self.suitesOfTLS12
      self.tls = tls
    } catch let error as TimedCertificateReloader.Error where error == .publicKeyMismatch {
      throw .mismatch
    } catch {
      throw .key
    }
  }

  public func run() async throws { try await reloader.run() }
}
