from __future__ import annotations

from django.db import models
from django.db.models import Q


class Customer(models.Model):
    name = models.CharField(max_length=40)


class Order(models.Model):
    number = models.IntegerField()
    status = models.CharField(max_length=10)
    made = models.DateTimeField()
    customer = models.ForeignKey(Customer, models.CASCADE, null=True)
    payer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="+")

    class Meta:
        indexes = [
            models.Index(fields=["status", "-made"], name="order_status_made"),
            models.Index(fields=["made"], condition=Q(status="open"), name="order_open_made"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["number"], name="order_number_once"),
            models.CheckConstraint(condition=Q(number__gt=0), name="order_number_positive"),
        ]
