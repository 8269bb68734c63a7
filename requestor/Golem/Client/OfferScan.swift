extension MarketAPI {
    /// Looks at the market for a while, without negotiating.
    ///
    /// A daemon learns of offers only while it has a demand, so it is given one in `subnet` meanwhile. Offers come as the
    /// network brings them: some within a second, most within a minute. A provider publishes anew after each agreement, so
    /// that the same provider may be told several times: the one with the later ``ScannedOffer/timestamp`` counts.
    ///
    /// - Parameters:
    ///   - constraints: beside the one on the subnet.
    ///   - receive: gets what came since it was called last, at least once a second, at times nothing; returns whether to
    ///     go on.
    /// - Throws: what `receive` throws; `usage` for a constraint that would match nothing; what keeps the daemon from being
    ///   reached; `CancellationError`. The demand and the scan are withdrawn on every way out.
    public func scan(
        _ constraints: Constraint = .none, subnet: String = "public", for time: Duration,
        _ receive: @Sendable ([ScannedOffer]) async throws -> Bool
    ) async throws {
        let inSubnet = Constraint.equal(PropertyName.subnet, subnet)
        let wanted = try (constraints == .none ? inSubnet : .all([inSubnet, constraints])).checked()
        let demand = try await subscribe(
            Demand(
                properties: [
                    PropertyName.subnet: .string(subnet),
                    PropertyName.expiration: JSON((Timestamp.system() + time + .seconds(3600)).milliseconds),
                ], constraints: wanted))
        let outcome: Result<Void, any Error>
        var scan: ScanID?
        do {
            let id = try await beginScan(wanted, lifetime: time + .seconds(60))
            scan = id
            let end = ContinuousClock.now + time
            while ContinuousClock.now < end {
                let found = try await scanned(id, timeout: min(.seconds(1), end - .now))
                guard try await receive(found) else { break }
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        let begun = scan
        await shielded {
            if let begun { try? await self.endScan(begun) }
            try? await self.unsubscribe(demand)
        }
        try outcome.get()
    }
}
