/// The id of a thing that a daemon or a node has named: 1 to 128 of the characters that an address may hold as they are
/// (letters, digits, `-`, `.`, `_` and `~`: RFC 3986, section 2.3).
///
/// Ids come from others and go into the paths of calls, into ledgers and onto the screen. So they are checked once, where
/// they enter, and one of an agreement cannot be given where one of an activity is wanted.
public struct Identifier<Subject: IdentifierSubject>: Hashable, Sendable, RawRepresentable {
    public let rawValue: String

    /// `nil` for what cannot be an id: too long, empty, characters that are not allowed, or a step of a path (`..`).
    public init?(rawValue: String) {
        let bytes = rawValue.utf8
        guard (1...128).contains(bytes.count), bytes.allSatisfy(isUnreserved), rawValue != ".", rawValue != ".." else {
            return nil
        }
        self.rawValue = rawValue
    }

    public init?(_ text: String) { self.init(rawValue: text) }
}

/// What an ``Identifier`` names.
public protocol IdentifierSubject {
    /// For messages, e.g. `agreement`.
    static var name: String { get }
}

public typealias NodeID = Identifier<NodeSubject>
public typealias DemandID = Identifier<DemandSubject>
public typealias ScanID = Identifier<ScanSubject>
public typealias OfferID = Identifier<OfferSubject>
public typealias ProposalID = Identifier<ProposalSubject>
public typealias AgreementID = Identifier<AgreementSubject>
public typealias ActivityID = Identifier<ActivitySubject>
public typealias BatchID = Identifier<BatchSubject>
public typealias AllocationID = Identifier<AllocationSubject>
public typealias DebitNoteID = Identifier<DebitNoteSubject>
public typealias InvoiceID = Identifier<InvoiceSubject>
public typealias PaymentID = Identifier<PaymentSubject>
/// A debit note or an invoice: what is accepted or refused.
public typealias BillID = Identifier<BillSubject>

public enum NodeSubject: IdentifierSubject { public static let name = "node" }
public enum DemandSubject: IdentifierSubject { public static let name = "demand" }
public enum ScanSubject: IdentifierSubject { public static let name = "scan" }
public enum OfferSubject: IdentifierSubject { public static let name = "offer" }
public enum ProposalSubject: IdentifierSubject { public static let name = "proposal" }
public enum AgreementSubject: IdentifierSubject { public static let name = "agreement" }
public enum ActivitySubject: IdentifierSubject { public static let name = "activity" }
public enum BatchSubject: IdentifierSubject { public static let name = "batch" }
public enum AllocationSubject: IdentifierSubject { public static let name = "allocation" }
public enum DebitNoteSubject: IdentifierSubject { public static let name = "debit note" }
public enum InvoiceSubject: IdentifierSubject { public static let name = "invoice" }
public enum PaymentSubject: IdentifierSubject { public static let name = "payment" }
public enum BillSubject: IdentifierSubject { public static let name = "bill" }

extension Identifier where Subject == BillSubject {
    public init(_ note: DebitNoteID) { rawValue = note.rawValue }
    public init(_ invoice: InvoiceID) { rawValue = invoice.rawValue }
}

extension Identifier: CustomStringConvertible {
    public var description: String { rawValue }
}

extension Identifier: Comparable {
    public static func < (left: Identifier, right: Identifier) -> Bool { left.rawValue < right.rawValue }
}

extension Identifier: ExpressibleByStringLiteral {
    /// For ids that stand in the source. One that cannot be an id is a programmer's mistake.
    public init(stringLiteral text: String) {
        guard let id = Identifier(rawValue: text) else { preconditionFailure("`\(text)` is no \(Subject.name) id") }
        self = id
    }
}

extension Identifier: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = Identifier(rawValue: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "what stands there is no \(Subject.name) id")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

extension JSON {
    init<Subject>(_ id: Identifier<Subject>) { self = .string(id.rawValue) }

    /// The id that this text is; `nil` for any other value.
    func id<Subject>(_: Subject.Type = Subject.self) -> Identifier<Subject>? { string.flatMap { Identifier($0) } }

    /// An answer that is an id, or an object with one under `key`.
    func id<Subject>(orUnder key: String) throws -> Identifier<Subject> {
        guard let id: Identifier<Subject> = id() ?? self[key]?.id() else {
            throw GolemError(
                .malformed, "the answer is no \(Subject.name) id", answer: excerpt(Array(description.utf8)))
        }
        return id
    }
}

/// Whether an address may hold a byte as it is (RFC 3986, section 2.3).
func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        true
    default: false
    }
}
