"""How many items a page asks for: fewer where GitHub finds a query too heavy, more again once it goes well."""

REVIEWS_PER_PULL_REQUEST = 100

# Pages that must go well before larger ones are tried; doubled each time that was too early.
FIRST_PATIENCE = 2


class PageSizes:
    """The page sizes of one scan's connections, `configured` at first. Not thread-safe.

    Pull requests give way first, for each brings its reviews; at one pull request a page, the reviews and the issues
    do. They grow back in the same order.
    """

    def __init__(self, configured: int) -> None:
        self.pull_requests = self.issues = self._configured = configured
        self.reviews = REVIEWS_PER_PULL_REQUEST
        self._patience = FIRST_PATIENCE
        self._went_well = 0
        self._just_grown = False

    def shrink(self, *, pull_requests: bool = False, reviews: bool = False, issues: bool = False) -> bool:
        """After a query that held these connections was too heavy; False where it cannot be made lighter."""
        if self._just_grown:
            self._patience *= 2
        self._just_grown = False
        self._went_well = 0
        if pull_requests and self.pull_requests > 1:
            self.pull_requests //= 2
            return True
        shrinks = (reviews and self.reviews > 1) or (issues and self.issues > 1)
        if reviews:
            self.reviews = max(self.reviews // 2, 1)
        if issues:
            self.issues = max(self.issues // 2, 1)
        return shrinks

    def went_well(self, *, pull_requests: bool) -> None:
        """After a page, with pull requests or with issues alone."""
        self._just_grown = False
        self._went_well += 1
        if self._went_well < self._patience:
            return
        self._went_well = 0
        if pull_requests and self.pull_requests < self._configured:
            self.pull_requests = min(self.pull_requests * 2, self._configured)
        elif self.reviews < REVIEWS_PER_PULL_REQUEST or self.issues < self._configured:
            self.reviews = min(self.reviews * 2, REVIEWS_PER_PULL_REQUEST)
            self.issues = min(self.issues * 2, self._configured)
        else:
            return
        self._just_grown = True
