// Shows who is on the market and what they ask, the cheapest first: `swift run market [SECONDS [AT-LEAST]]`
//
// Ends after SECONDS (30), or when AT-LEAST providers were seen. Nothing is rented and nothing is paid.
import Foundation
import Golem

let numbers = CommandLine.arguments.dropFirst().map { Int($0) ?? 0 }
let seconds = numbers.first ?? 30
let enough = numbers.count > 1 ? numbers[1] : Int.max
let subnet = ProcessInfo.processInfo.environment["YAGNA_SUBNET"] ?? "public"

/// The newest offer of each provider.
actor Market {
    private(set) var offers: [NodeID: ScannedOffer] = [:]

    func add(_ found: [ScannedOffer]) -> Int {
        for offer in found {
            if let old = offers[offer.providerID]?.timestamp, let new = offer.timestamp, new < old { continue }
            offers[offer.providerID] = offer
        }
        return offers.count
    }
}

do {
    let client = try GolemClient()
    let market = Market()
    try await client.market.scan(.equal(PropertyName.runtime, "vm"), subnet: subnet, for: .seconds(seconds)) {
        await market.add($0) < enough
    }
    let priced = await market.offers.values.map { found in
        (found.offer, found.offer.price?.perHour(threads: max(1, found.offer.threads ?? 1)))
    }
    for (offer, price) in priced.sorted(by: { ($0.1 ?? .infinity, $0.0.nodeName) < ($1.1 ?? .infinity, $1.0.nodeName) })
    {
        let hour = price.map { String(format: "%.4f GLM an hour", $0) } ?? "no linear price"
        print("\(offer.nodeName): \(offer.threads ?? 1) threads, \(offer.memoryGiB ?? 0) GiB, \(hour)")
    }
    print("\(priced.count) providers in subnet \(subnet)")
} catch let error as GolemError {
    print(error)
    exit(error.exitCode)
}
