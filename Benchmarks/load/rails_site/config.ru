require_relative "site"
run Site
