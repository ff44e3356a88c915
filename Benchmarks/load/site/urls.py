from django.urls import include, path

from views import LinkView

urlpatterns = [
    # The email template finds the URL by this name.
    path("password/reset/<uidb64>/<token>/", LinkView.as_view(), name="password_reset_confirm"),
    path("", include("dj_rest_auth.urls")),
]
