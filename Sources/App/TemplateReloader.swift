import Localization
import Logging
import Mail
import PasswordReset
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Reads the mail templates anew on SIGHUP.
///
/// A class, as all services here: their names are logged when they start, and a structure's would be all that it holds.
final class TemplateReloader: Service {
  private let content: MailContentSettings
  private let languages: Languages
  private let current: CurrentTemplates
  private let logger: Logger

  /// - Parameter current: has the templates of the start, and is given those that are read later.
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
      logger.notice("The mail templates were read anew")
      // Requests choose among the languages of the start.
      if languages.all.map(\.tag) != self.languages.all.map(\.tag) {
        logger.warning("EMAIL_TEMPLATES_DIR has other languages than at the start; restart the service to use them")
      }
    } catch {
      logger.error("The new mail templates cannot be used, the old ones stay", metadata: ["reason": "\(error)"])
    }
  }
}

/// The templates that mails are written with.
final class CurrentTemplates: EmailComposer {
  private let templates: Mutex<MailTemplates>

  init(_ templates: MailTemplates) { self.templates = Mutex(templates) }

  func replace(by new: MailTemplates) { templates.withLock { $0 = new } }

  func compose(_ context: MailContext) -> EmailMessage { templates.withLock(\.self).compose(context) }
}
