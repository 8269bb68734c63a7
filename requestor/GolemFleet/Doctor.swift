import Golem
import Tensors

/// Looks at everything that renting needs, one thing after another, each with the command that mends it.
public struct Doctor: Sendable {
    /// What was found about one thing.
    public struct Finding: Sendable, Equatable {
        public enum State: String, Sendable, Codable { case good, warning, bad }

        /// "daemon", "app-key", …
        public var subject: String
        public var state: State
        /// One sentence.
        public var message: String
        /// The exact command that mends it; absent when nothing is to be mended.
        public var remedy: String?

        public init(_ subject: String, _ state: State, _ message: String, remedy: String? = nil) {
            self.subject = subject
            self.state = state
            self.message = message
            self.remedy = remedy
        }
    }

    private let settings: GolemSettings
    private let problems: [String]
    /// How long offers are waited for.
    private let marketTime: Duration

    public init(settings: GolemSettings, problems: [String], marketTime: Duration = .seconds(60)) {
        self.settings = settings
        self.problems = problems
        self.marketTime = marketTime
    }

    /// Examines in the order in which things depend on each other; what cannot be seen because something before it is
    /// broken is left out. Each finding is told as soon as it is known.
    public func examine(_ tell: @escaping @Sendable (Finding) -> Void) async {
        for problem in problems { tell(Finding("settings", .bad, problem, remedy: "deml doctor --help")) }
        if settings.appKey == nil {
            tell(Finding("app-key", .bad, "YAGNA_APPKEY is not set", remedy: Self.makeKey))
        }
        // An address that is none was told with the settings.
        if let client = try? settings.client() { await daemon(client, tell) }
        await image(tell)
    }

    // MARK: Daemon

    private func daemon(_ client: GolemClient, _ tell: @escaping @Sendable (Finding) -> Void) async {
        do {
            let me = try await client.me()
            let version = try await client.version()
            tell(Finding("daemon", .good, "yagna \(version.current) answers at \(client.address)"))
            tell(Finding("app-key", .good, "it stands for \(me.nodeID)"))
        } catch let error as GolemError where error.code == .unauthorized {
            tell(Finding("daemon", .good, "something answers at \(client.address)"))
            return tell(Finding("app-key", .bad, error.message, remedy: Self.makeKey))
        } catch let error as GolemError where error.code != .unreachable {
            // Something answers, or TLS is not as it should be.
            return tell(Finding("daemon", .bad, "\(client.address): \(error.message)", remedy: error.hint))
        } catch {
            return tell(
                Finding("daemon", .bad, "no yagna daemon answers at \(client.address)", remedy: "yagna service run"))
        }
        await payment(client, tell)
        await market(client, tell)
    }

    /// Shown where an app-key is missing; `app-key create` prints the new key.
    static let makeKey = "export YAGNA_APPKEY=$(yagna app-key create deml)"

    private func payment(_ client: GolemClient, _ tell: @escaping @Sendable (Finding) -> Void) async {
        do {
            let old = try await client.payment.allocations()
            if !old.isEmpty {
                let sum = old.reduce(Amount.zero) { $0 + $1.remaining }
                tell(
                    Finding(
                        "allocations", .warning,
                        "\(old.count) \(old.count == 1 ? "holds" : "hold") back \(shortText(sum.glm)) GLM (of other runs, or of one that was killed)",
                        remedy: "yagna payment release-allocations"))
            }
            let troubles = try await client.payment.driverProblems(network: settings.network, driver: settings.driver)
            for trouble in troubles {
                tell(
                    Finding(
                        "payments", .warning, trouble, remedy: "yagna payment status --network \(settings.network)"))
            }
            // The only question about funds that the daemon answers is whether it can set them aside.
            let asked = Timestamp.system()
            let allocation = try await client.payment.allocate(
                settings.budget, platform: settings.platform, timeout: .system() + .seconds(60))
            if let warning = ClockDifference(daemon: allocation.made, asked: asked, answered: .system()).warning {
                tell(Finding("clock", .warning, warning, remedy: "timedatectl set-ntp true"))
            }
            try await client.payment.release(allocation.id)
            tell(
                Finding("funds", .good, "the budget of \(settings.budget) GLM can be set aside on \(settings.network)"))
        } catch let error as GolemError where error.code == .budget {
            tell(
                Finding(
                    "funds", .bad, error.message,
                    remedy: settings.isMainnet
                        ? "yagna payment status --network \(settings.network)"
                        : "yagna payment fund --network \(settings.network)"))
        } catch {
            let message = (error as? GolemError)?.message ?? "\(error)"
            tell(
                Finding(
                    "payments", .bad, message,
                    remedy: "yagna payment init --sender --network \(settings.network) --driver \(settings.driver)"))
        }
    }

    private func market(_ client: GolemClient, _ tell: @escaping @Sendable (Finding) -> Void) async {
        do {
            let survey = try await MarketSurvey.take(client, settings, for: marketTime, enough: 1)
            if let step = survey.steps.last, step.left > 0 {
                tell(
                    Finding(
                        "market", .good, "\(survey.offers.count) offers seen so far, \(step.left) of use to this run"))
            } else if survey.offers.isEmpty {
                tell(
                    Finding(
                        "market", .bad,
                        "no offer was seen within \(Int(marketTime.inSeconds)) s: the relay is not reached, or nobody is in "
                            + "subnet '\(settings.subnet)'",
                        remedy: "yagna net status"))
            } else {
                tell(
                    Finding(
                        "market", .bad, "\(survey.offers.count) offers were seen, none of use to this run",
                        remedy: "deml offers --subnet \(settings.subnet) --network \(settings.network)"))
            }
        } catch {
            tell(
                Finding(
                    "market", .bad, (error as? GolemError)?.message ?? "\(error)", remedy: "yagna net status"))
        }
    }

    // MARK: Image

    private func image(_ tell: @escaping @Sendable (Finding) -> Void) async {
        do {
            switch settings.image {
            case nil:
                tell(Finding("image", .bad, "none was given", remedy: "make image"))
            case .file(let path):
                let hash = try await ImageProvision.hash(of: path)
                tell(Finding("image", .good, "\(path), SHA3-224 \(hash), will be served from here"))
            case .tag(let tag):
                let package = try await ImageProvision.resolve(tag, registry: settings.registry)
                tell(Finding("image", .good, "\(tag) is \(package)"))
            case .url(let url, let sha3):
                if url.hasPrefix("gftp://") {
                    tell(Finding("image", .good, "\(url), SHA3-224 \(sha3) (gftp addresses are not looked at)"))
                    return
                }
                let status = try await ImageProvision.status(of: url)
                guard status == 200 else {
                    tell(
                        Finding(
                            "image", .bad, "\(url) answers with status \(status)",
                            remedy: "curl -I \(url)"))
                    return
                }
                tell(Finding("image", .good, "\(url) can be fetched; its hash is checked by the providers"))
            }
        } catch let error as DeMLError {
            tell(Finding("image", .bad, error.summary, remedy: "make image"))
        } catch {
            tell(Finding("image", .bad, "it cannot be reached: \(error)", remedy: "make image"))
        }
    }
}
