"""How many items a page asks for: fewer where GitHub finds a query too heavy, more again once it goes well."""

REVIEWS_PER_PULL_REQUEST = 100

# Pages that must go well before larger ones are tried; doubled each time that was too early.
FIRST_PATIENCE = 2

SHRINKING = 4


class PageSizes:
    """The page sizes of one scan's connections, `configured` at first. They are not thread-safe.

    All that a query holds shrink together, for nobody knows which is the cause, and by a lot, for each try is refused.
    Pull requests grow back first.
    """

    def __init__(self, configured: int) -> None:
        self.pull_requests = self.issues = self._configured = configured
        self.reviews = REVIEWS_PER_PULL_REQUEST
        self._good = (self.pull_requests, self.reviews, self.issues)
        self._patience = FIRST_PATIENCE
        self._went_well = 0
        self._just_grown = False
        self._restored = False

    def shrink(self, *, pull_requests: bool = False, reviews: bool = False, issues: bool = False) -> bool:
        """After a query that held these connections was too heavy; False where it cannot be made lighter."""
        self._went_well = 0
        if self._just_grown:
            self._patience *= 2
            self._have_good_sizes()
            return True
        before = (self.pull_requests, self.reviews, self.issues)
        if pull_requests:
            self.pull_requests = max(self.pull_requests // SHRINKING, 1)
        if reviews:
            self.reviews = max(self.reviews // SHRINKING, 1)
        if issues:
            self.issues = max(self.issues // SHRINKING, 1)
        return before != (self.pull_requests, self.reviews, self.issues)

    @property
    def is_whole(self) -> bool:
        """Whether pages have all the items that are configured."""
        return min(self.pull_requests, self.issues) == self._configured and self.reviews == REVIEWS_PER_PULL_REQUEST

    def restore(self) -> None:
        """Have the sizes of the last page that went well: what was refused since was one item's doing.

        Once only: where the next page is refused as well, items that are too heavy may stand in a row.
        """
        if not self._restored:
            self._restored = True
            self._have_good_sizes()

    def went_well(self, *, pull_requests: bool) -> None:
        """After a page, with pull requests or with issues alone."""
        self._restored = False
        self._good = (self.pull_requests, self.reviews, self.issues)
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

    def _have_good_sizes(self) -> None:
        self.pull_requests, self.reviews, self.issues = self._good
        self._just_grown = False
