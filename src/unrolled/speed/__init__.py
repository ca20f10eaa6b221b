"""The speed question: is it the same work, how long does it take, and can the answer be trusted?"""
