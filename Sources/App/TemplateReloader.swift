import Localization
import Logging
import Mail
import PasswordReset
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Reloads the email templates on SIGHUP.
///
/// A class, like all services here: they are logged when they start, and a structure would be logged with all its contents.
final class TemplateReloader: Service {
  private let content: MailContentSettings
  private let languages: Languages
  private let current: CurrentTemplates
  private let logger: Logger

  /// - Parameter current: holds the templates that were loaded at startup; a reload replaces them.
  init(_ settings: Settings, current: CurrentTemplates, logger: Logger) {
    content = settings.mail.content
    languages = settings.languages
    self.current = current
    self.logger = logger
  }

  func run() async {
    for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() { reload() }
  }

  private func reload() {
    do {
      let (languages, templates) = try content.load()
      current.replace(by: templates)
      logger.notice("Reloaded the email templates")
      // Requests choose among the languages that were loaded at startup.
      if languages.all.map(\.tag) != self.languages.all.map(\.tag) {
        logger.warning("The languages in EMAIL_TEMPLATES_DIR have changed; restart the service to use them")
      }
    } catch {
      logger.error("Cannot reload the email templates; the previous ones stay in use", metadata: ["reason": "\(error)"])
    }
  }
}

/// The email templates in use. A reload replaces them.
final class CurrentTemplates: EmailComposer {
  private let templates: Mutex<MailTemplates>

  init(_ templates: MailTemplates) { self.templates = Mutex(templates) }

  func replace(by new: MailTemplates) { templates.withLock { $0 = new } }

  func compose(_ context: MailContext) -> EmailMessage { templates.withLock(\.self).compose(context) }
}
