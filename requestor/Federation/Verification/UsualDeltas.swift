import Aggregation
import Foundation

/// What deltas of this run look like, and which do not. Being strange proves nothing: it only says what is to be looked at.
struct UsualDeltas: Sendable {
    typealias Work = AuditMachine.Work

    /// Of the present round and of the one before.
    private var recent: [AuditMachine.Key: Work] = [:]
    /// Where each delta of the run was seen first.
    private var seen: [String: AuditMachine.Key] = [:]

    /// A norm so many times the usual one, or so small a part of it, is far outside.
    static let norms = 2.5
    /// A cosine so far below the usual one is far outside.
    static let cosines = 0.3
    /// A delta that much longer than the weights that it changes is no training, whatever the run has seen.
    static let ofWeights = 4.0

    /// An answer is compared with no more than so many: a round may have thousands.
    static let mostOthers = 256
    /// Digests that are remembered.
    static let mostSeen = 100_000

    mutating func roundBegan(_ round: Int) {
        if seen.count > Self.mostSeen {
            let oldest = seen.values.map(\.round).sorted()[seen.count / 2]
            seen = seen.filter { $0.value.round > oldest }
        }
        recent = recent.filter { $0.key.round >= round - 1 }
    }

    mutating func wentBack(to round: Int) {
        recent = recent.filter { $0.key.round <= round }
        seen = seen.filter { $0.value.round <= round }
    }

    mutating func add(_ work: Work) {
        recent[work.key] = work
        if seen[work.fingerprint.digest] == nil { seen[work.fingerprint.digest] = work.key }
    }

    mutating func forget(_ key: AuditMachine.Key) {
        recent[key] = nil
        seen = seen.filter { $0.value != key }
    }

    /// Another training whose delta has the very same bytes.
    func twin(of work: Work) -> AuditMachine.Key? {
        guard let key = seen[work.fingerprint.digest], (key.round, key.client) != (work.key.round, work.key.client)
        else { return nil }
        return key
    }

    /// What is so strange in a delta that it must not be averaged before it was looked at; nil: nothing.
    func alarm(_ work: Work) -> String? {
        if work.fingerprint.norm == 0 { return "it changes nothing" }
        if let twin = twin(of: work) { return "it has the bytes of round \(twin.round), shard \(twin.client)" }
        let limit = Self.ofWeights * max(1, work.weightsNorm)
        if work.fingerprint.norm > limit {
            return "its norm \(Self.text(work.fingerprint.norm)) is above \(Self.text(limit)), four times the weights'"
        }
        let others = Array(recent.lazy.filter { $0.key != work.key }.prefix(Self.mostOthers).map(\.value))
        if let strange = strangeNorm(work, others) { return strange }
        guard let cosine = cosine(work, others), cosine < -0.2 else { return nil }
        return "it points away from the others (cosine \(Self.text(cosine)))"
    }

    /// Works of a round that differ from the others in it, once all are there.
    func strangers(in round: Int) -> [(key: AuditMachine.Key, reason: String)] {
        let works = recent.filter { $0.key.round == round }.sorted { $0.key < $1.key }.map(\.value)
        guard works.count > 1 else { return [] }
        // The sums of all are made once: a round may have thousands of works.
        var total = [Double](repeating: 0, count: DeltaFingerprint.width)
        for work in works { for index in total.indices { total[index] += work.fingerprint.sketch[index] } }
        let norms = Spread(works.map { log(max($0.fingerprint.norm, 1e-300)) })
        let cosines = works.map { work in
            work.fingerprint.cosine(to: zip(total, work.fingerprint.sketch).map { $0 - $1 })
        }
        let usual = works.count > 2 ? Spread(cosines.compactMap(\.self)).middle : 0.2
        return zip(works, cosines).compactMap { work, cosine in
            if let strange = Self.strange(work, norms, count: works.count) { return (work.key, strange) }
            guard let cosine, cosine < usual - Self.cosines else { return nil }
            return (
                work.key,
                "its direction is far from the others' (cosine \(Self.text(cosine)), usual \(Self.text(usual)))"
            )
        }
    }

    private func strangeNorm(_ work: Work, _ others: [Work]) -> String? {
        guard !others.isEmpty else { return nil }
        return Self.strange(work, Spread(others.map { log(max($0.fingerprint.norm, 1e-300)) }), count: others.count)
    }

    private static func strange(_ work: Work, _ norms: Spread, count: Int) -> String? {
        // With few of them the spread says nothing.
        let limit = max(log(Self.norms), count >= 8 ? 6 * norms.deviation : 0)
        guard abs(log(max(work.fingerprint.norm, 1e-300)) - norms.middle) > limit else { return nil }
        return "its norm \(text(work.fingerprint.norm)) is far from the usual \(text(exp(norms.middle)))"
    }

    private func cosine(_ work: Work, _ others: [Work]) -> Double? {
        var sum = [Double](repeating: 0, count: DeltaFingerprint.width)
        for other in others { for index in sum.indices { sum[index] += other.fingerprint.sketch[index] } }
        return others.isEmpty ? nil : work.fingerprint.cosine(to: sum)
    }

    private static func text(_ value: Double) -> String { String(format: "%.3g", value) }
}

/// Median, and median distance from it.
private struct Spread {
    var middle: Double
    var deviation: Double

    init(_ values: [Double]) {
        func median(_ values: [Double]) -> Double {
            let sorted = values.sorted()
            return sorted.isEmpty ? 0 : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        }
        let middle = median(values)
        self.middle = middle
        deviation = median(values.map { abs($0 - middle) })
    }
}
