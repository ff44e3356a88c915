from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils.http import urlsafe_base64_decode
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class LinkView(APIView):
    """Checks a link; dj-rest-auth has no view for this."""

    def get(self, request: Request, uidb64: str, token: str) -> Response:
        try:
            user = User.objects.get(pk=urlsafe_base64_decode(uidb64).decode())
        except (TypeError, ValueError, OverflowError, User.DoesNotExist):
            return Response({"validlink": False})
        return Response({"validlink": default_token_generator.check_token(user, token)})
