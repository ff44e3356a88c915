# A minimal Rails site with Devise's `recoverable`: an API, without sessions. The service's paths and responses.
require "logger"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_mailer/railtie"
require "devise"
require "devise/orm/active_record"

class Site < Rails::Application
  config.load_defaults 6.1
  config.root = ENV.fetch("SITE_FOLDER")
  config.api_only = true
  config.eager_load = true
  config.cache_classes = true
  config.consider_all_requests_local = false
  config.secret_key_base = ENV.fetch("SECRET_KEY")
  config.logger = ActiveSupport::TaggedLogging.new(Logger.new($stdout))
  config.log_level = :info
  config.action_mailer.delivery_method = :smtp
  config.action_mailer.smtp_settings = { address: "127.0.0.1", port: Integer(ENV.fetch("EMAIL_PORT")) }
  config.action_mailer.default_url_options = { host: "www.example.com", protocol: "https" }
  config.active_record.dump_schema_after_migration = false
end

Devise.setup do |config|
  config.mailer_sender = "noreply@example.com"
  # No response reveals whether an account exists.
  config.paranoid = true
  config.reset_password_within = 1.day
  # Devise's controllers are loaded, but not used: they need sessions.
  config.parent_controller = "ActionController::Base"
end

# SQLite's own way to wait for another writer holds Ruby's lock, so that a writer in the same process cannot end its transaction.
# Newer releases of Rails have such a handler.
module Waiting
  private

  def configure_connection
    super
    @connection.busy_handler do |count|
      sleep 0.001
      count < 5000
    end
  end
end
ActiveSupport.on_load(:active_record_sqlite3adapter) { prepend Waiting }

Site.initialize!

class User < ActiveRecord::Base
  devise :database_authenticatable, :recoverable, :validatable
end

class PasswordsController < ActionController::API
  def request_reset
    User.send_reset_password_instructions(email: params.require(:email))
    render json: { detail: I18n.t("devise.passwords.send_paranoid_instructions") }, status: :accepted
  end

  # Devise has no action that only checks a link. This does what its `reset_password_by_token` does before it sets a password.
  def check
    user = User.with_reset_password_token(params[:token])
    valid = !user.nil? && user.id.to_s == params[:id] && user.reset_password_period_valid?
    render json: { validlink: valid }
  end

  def update
    user = User.reset_password_by_token(
      reset_password_token: params[:token], password: params[:new_password1], password_confirmation: params[:new_password2]
    )
    return render json: { errors: user.errors }, status: :bad_request if user.errors.any?

    render json: { detail: I18n.t("devise.passwords.updated_not_active") }
  end
end

Site.routes.draw do
  # Devise's own routes are not used, but its email contains the URL of one.
  devise_for :users, only: :passwords
  post "password", to: "passwords#request_reset"
  get "password/:id/:token", to: "passwords#check"
  put "password/:id/:token", to: "passwords#update"
end
# The first routes were drawn before the model existed.
Devise.regenerate_helpers!
