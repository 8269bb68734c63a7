import ForeignText

/// Names of the properties that this module reads or writes.
public enum PropertyName {
    /// Text: who may meet.
    public static let subnet = "golem.node.debug.subnet"
    /// Text: a node's name, for people.
    public static let nodeName = "golem.node.id.name"
    /// Milliseconds since 1970: when the work must be over.
    public static let expiration = "golem.srv.comp.expiration"
    /// Text: the image, see ``TaskPackage``.
    public static let taskPackage = "golem.srv.comp.task_package"
    /// Text: `gvmkit-squash`.
    public static let packageFormat = "golem.srv.comp.vm.package_format"
    /// Boolean: several activities under one agreement.
    public static let multiActivity = "golem.srv.caps.multi-activity"
    /// Text: how is paid, e.g. `erc20-hoodi-tglm`.
    public static let chosenPlatform = "golem.com.payment.chosen-platform"
    /// Seconds within which debit notes are accepted.
    public static let acceptTimeout = "golem.com.payment.debit-notes.accept-timeout?"
    /// Seconds from one debit note to the next.
    public static let debitNoteInterval = "golem.com.scheme.payu.debit-note.interval-sec?"
    /// Seconds within which a debit note that is due is paid.
    public static let paymentTimeout = "golem.com.scheme.payu.payment-timeout-sec?"
    /// List of texts: what is counted, in the order of ``coefficients``.
    public static let usageVector = "golem.com.usage.vector"
    /// List of numbers: GLM for a unit of each counter, the start price last.
    public static let coefficients = "golem.com.pricing.model.linear.coeffs"
    /// Text: `linear`.
    public static let pricingModel = "golem.com.pricing.model"
    /// Text: `payu`.
    public static let paymentScheme = "golem.com.scheme"
    /// Text: `vm` for images.
    public static let runtime = "golem.runtime.name"
    /// Number of processor cores.
    public static let cores = "golem.inf.cpu.cores"
    /// Number of hardware threads.
    public static let threads = "golem.inf.cpu.threads"
    /// GiB.
    public static let memory = "golem.inf.mem.gib"
    /// GiB.
    public static let storage = "golem.inf.storage.gib"
}

/// What a provider offers: the properties, with types where they are known.
public struct Offer: Sendable, Equatable {
    /// All of them, as they came. Text in them is a stranger's: ``JSON/line`` makes it harmless.
    public var properties: [String: JSON]

    /// Whatever they say: what makes no sense is `nil` where it is asked for.
    public init(properties: [String: JSON]) {
        self.properties = properties
    }

    /// A property by its name.
    public subscript(name: String) -> JSON? { properties[name] }

    /// The provider's name, 100 characters at most; empty where it has none. Anybody may call himself anything.
    public var nodeName: String {
        properties[PropertyName.nodeName]?.string.map { ForeignText.line($0, limit: 100) } ?? ""
    }
    /// Who may meet.
    public var subnet: String? { properties[PropertyName.subnet]?.line }
    /// `vm` for images.
    public var runtime: String? { properties[PropertyName.runtime]?.line }
    /// Of the runtime, e.g. `0.5.3`.
    public var runtimeVersion: String? { properties["golem.runtime.version"]?.line }
    /// `x86_64` or `aarch64`.
    public var architecture: String? { properties["golem.inf.cpu.architecture"]?.line }
    /// As the processor calls itself.
    public var cpuBrand: String? { properties["golem.inf.cpu.brand"]?.line }
    /// Names of instruction sets, in lower case: `avx2`, …
    public var cpuCapabilities: [String] { properties["golem.inf.cpu.capabilities"]?.strings ?? [] }
    /// Processor cores.
    public var cores: Int? { properties[PropertyName.cores]?.int }
    /// Hardware threads; the number of cores where the offer does not say.
    public var threads: Int? { properties[PropertyName.threads]?.int ?? cores }
    /// GiB (2³⁰ bytes) of memory.
    public var memoryGiB: Double? { properties[PropertyName.memory]?.double }
    /// GiB of disk.
    public var storageGiB: Double? { properties[PropertyName.storage]?.double }
    /// Where files may come from: `http`, `https`, `gftp`.
    public var transferProtocols: [String] { properties["golem.activity.caps.transfer.protocol"]?.strings ?? [] }
    /// Whether the node can be reached from outside without a relay.
    public var isPublic: Bool? { properties["golem.node.net.is-public"]?.bool }
    /// Seconds within which each debit note must be accepted, at most.
    public var acceptTimeout: Int? { properties[PropertyName.acceptTimeout]?.int }
    /// Seconds from one debit note to the next.
    public var debitNoteInterval: Int? { properties[PropertyName.debitNoteInterval]?.int }
    /// Seconds within which a debit note that is due must be paid.
    public var paymentTimeout: Int? { properties[PropertyName.paymentTimeout]?.int }

    /// The platforms on which the provider takes payment, e.g. `erc20-hoodi-tglm`.
    public var paymentPlatforms: [String] {
        properties.keys.compactMap { key in
            let prefix = "golem.com.payment.platform."
            guard key.hasPrefix(prefix), key.hasSuffix(".address") else { return nil }
            return String(key.dropFirst(prefix.count).dropLast(".address".count))
        }.sorted()
    }

    /// The linear price, or `nil` if the offer has another pricing model or contradicts itself.
    public var price: LinearPrice? { LinearPrice(self) }
}

/// A linear price: Σ coefficient × usage, plus a start price, all in GLM.
public struct LinearPrice: Sendable, Equatable {
    /// Counter names in the order of bills, e.g. `golem.usage.duration_sec`.
    public var counters: [String]
    /// GLM per unit of each counter.
    public var coefficients: [Double]
    /// GLM for each activity, whatever it uses.
    public var start: Double

    /// Seconds that an activity exists.
    public static let duration = "golem.usage.duration_sec"
    /// Seconds that its processors worked.
    public static let cpu = "golem.usage.cpu_sec"

    /// One coefficient for each counter, GLM per unit.
    public init(counters: [String], coefficients: [Double], start: Double) {
        precondition(counters.count == coefficients.count, "one coefficient for each counter")
        self.counters = counters
        self.coefficients = coefficients
        self.start = start
    }

    /// GLM for a second, for a processor second, for a start.
    public init(perSecond: Double, perCPUSecond: Double, start: Double) {
        self.init(
            counters: [LinearPrice.duration, LinearPrice.cpu], coefficients: [perSecond, perCPUSecond], start: start)
    }

    init?(_ offer: Offer) {
        guard offer[PropertyName.pricingModel]?.string == "linear",
            let counters = offer[PropertyName.usageVector]?.strings,
            let all = offer[PropertyName.coefficients]?.doubles, all.count == counters.count + 1,
            all.allSatisfy({ $0.isFinite && $0 >= 0 && $0 < 1e9 }), let start = all.last
        else { return nil }
        self.init(counters: counters, coefficients: Array(all.dropLast()), start: start)
    }

    private func coefficient(_ name: String) -> Double {
        zip(counters, coefficients).reduce(0) { $1.0 == name ? $0 + $1.1 : $0 }
    }

    /// GLM for each second that an activity exists.
    public var perSecond: Double { coefficient(LinearPrice.duration) }
    /// GLM for each second that a processor works.
    public var perCPUSecond: Double { coefficient(LinearPrice.cpu) }

    /// True if something is billed that time does not bound, so that no worst case can be given.
    public var hasUnknownCounters: Bool {
        zip(counters, coefficients).contains { $0 != LinearPrice.duration && $0 != LinearPrice.cpu && $1 > 0 }
    }

    /// GLM for an hour with all threads busy, without the start price.
    public func perHour(threads: Int) -> Double {
        3600 * (perSecond + perCPUSecond * Double(threads))
    }

    /// The cost of what a usage vector says, in the order of ``counters``; `nil` if it is too short.
    public func cost(usage: [Double]) -> Double? {
        guard usage.count >= coefficients.count else { return nil }
        return zip(coefficients, usage).reduce(start) { $0 + $1.0 * $1.1 }
    }

    /// The cost of a time with given processor seconds.
    public func cost(seconds: Double, cpuSeconds: Double) -> Double {
        start + perSecond * seconds + perCPUSecond * cpuSeconds
    }
}

/// The most that may be paid. A limit that is absent does not limit.
public struct PriceLimits: Sendable, Equatable {
    /// GLM for an hour with all threads of the machine busy.
    public var perHour: Double?
    /// GLM for a processor hour.
    public var perCPUHour: Double?
    /// GLM for starting an activity.
    public var start: Double?

    /// In GLM; what is left out does not limit.
    public init(perHour: Double? = nil, perCPUHour: Double? = nil, start: Double? = nil) {
        self.perHour = perHour
        self.perCPUHour = perCPUHour
        self.start = start
    }

    /// Why an offer is too dear; `nil` if it is not. One whose price cannot be told is the ``OfferPolicy``'s business.
    public func objection(to offer: Offer) -> String? {
        guard let price = offer.price, !price.hasUnknownCounters else { return "its price cannot be told" }
        let threads = max(1, offer.threads ?? 1)
        func text(_ value: Double) -> String { Amount(glm: value)?.description ?? "\(value)" }
        if let perHour, price.perHour(threads: threads) > perHour {
            return "it costs up to \(text(price.perHour(threads: threads))) GLM an hour, the limit is \(text(perHour))"
        }
        if let perCPUHour, price.perCPUSecond * 3600 > perCPUHour {
            return "a processor hour costs \(text(price.perCPUSecond * 3600)) GLM, the limit is \(text(perCPUHour))"
        }
        if let start, price.start > start {
            return "a start costs \(text(price.start)) GLM, the limit is \(text(start))"
        }
        return nil
    }
}

/// An image by URL and hash, as a demand names it.
public struct TaskPackage: Sendable, Equatable, CustomStringConvertible {
    /// `http:`, `https:` or `gftp:`.
    public var url: String
    /// SHA3-224 of the image, 56 hex digits.
    public var sha3: String

    /// - Throws: `usage` for what is no hash or no address of an image.
    public init(url: String, sha3: String) throws {
        let hash = sha3.lowercased()
        guard hash.count == 56, hash.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw GolemError(
                .usage, "an image's hash must be 56 hex digits (SHA3-224), not `\(sha3)`", place: url,
                hint: "openssl dgst -sha3-224 IMAGE.gvmi shows it")
        }
        guard ["http://", "https://", "gftp://"].contains(where: url.hasPrefix) else {
            throw GolemError(.usage, "an image's address must begin with http://, https:// or gftp://", place: url)
        }
        self.url = url
        self.sha3 = hash
    }

    public var description: String { "hash:sha3:\(sha3):\(url)" }
}
