// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Bond} from "../../src/libraries/Bond.sol";
import {Phase} from "../../src/types/Position.sol";
import {Test} from "../Vm.sol";
import {Handler} from "./Handler.sol";

/// @title What holds whatever anybody does
contract MarketInvariants is Test {
    uint256 private constant WORKER_BOND = 1 ether;

    Handler private handler;
    IMarket private market;
    IDisputes private disputes;

    function setUp() public {
        handler = new Handler();
        handler.start();
        market = handler.marketUnderTest();
        disputes = IDisputes(market.disputes());
        bytes4[] memory selectors = new bytes4[](16);
        selectors[0] = Handler.pass.selector;
        selectors[1] = Handler.setBaseFee.selector;
        selectors[2] = Handler.stake.selector;
        selectors[3] = Handler.unstake.selector;
        selectors[4] = bytes4(keccak256("ask(uint256,bool)"));
        selectors[5] = Handler.makeClaim.selector;
        selectors[6] = Handler.finalize.selector;
        selectors[7] = Handler.deliver.selector;
        selectors[8] = Handler.refund.selector;
        selectors[9] = Handler.withdraw.selector;
        selectors[10] = Handler.open.selector;
        selectors[11] = Handler.move.selector;
        selectors[12] = Handler.settle.selector;
        selectors[13] = bytes4(keccak256("convict(uint256,uint256)"));
        // Claims and moves more often than the rest.
        selectors[14] = Handler.move.selector;
        selectors[15] = Handler.makeClaim.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    /// One campaign for all: what takes time is the playing.
    function invariant_whatever() public view {
        IDisputes.Dispute[] memory all = new IDisputes.Dispute[](handler.disputeCount());
        for (uint256 i; i < all.length; i++) {
            all[i] = disputes.disputeOf(handler.disputeIds(i));
        }
        everythingOwedIsThere();
        disputesAreBacked(all);
        claimsAreBacked(all);
    }

    /// owed = recorded ≤ held, field by field.
    function everythingOwedIsThere() private view {
        IMarket.Ledger memory l = market.ledger();
        uint256 sum = l.stakes + l.escrow + l.bonds + l.setAside + l.credits + l.burned;
        vm.assertEq(sum, address(market).balance, "ledger");
        vm.assertEq(address(disputes).balance, 0, "disputes hold nothing");

        uint256 credits;
        uint256 stakes;
        for (uint256 i; i < handler.accountCount(); i++) {
            credits += market.creditOf(handler.accounts(i));
            stakes += market.providerOf(handler.accounts(i)).staked;
        }
        vm.assertEq(credits, l.credits, "credits");
        vm.assertEq(stakes, l.stakes, "stakes");

        uint256 escrow;
        for (uint256 i = 1; i <= market.requestCount(); i++) {
            IMarket.Request memory r = market.requestOf(i);
            bool waiting = r.status == IMarket.RequestStatus.Requested || r.status == IMarket.RequestStatus.Claimed;
            if (waiting) escrow += r.fee + r.prepaid;
            if (r.status == IMarket.RequestStatus.Final && r.delivery == IMarket.Delivery.Pending) escrow += r.prepaid;
        }
        vm.assertEq(escrow, l.escrow, "escrow");
    }

    /// Bonds and what is set aside, dispute by dispute.
    function disputesAreBacked(IDisputes.Dispute[] memory all) private view {
        IMarket.Ledger memory l = market.ledger();
        uint256 bonds;
        uint256 owed;
        for (uint256 i; i < all.length; i++) {
            IDisputes.Dispute memory d = all[i];
            Phase p = d.position.phase;
            bool live = p >= Phase.Choosing && p <= Phase.Proving;
            if (live || p == Phase.Moot) bonds += d.bond;
            vm.assertLe(d.challengerCost, d.bond);
            vm.assertLe(d.workerCost, d.bond);
            if (p == Phase.Moot && market.claimOf(d.claim).status == IMarket.ClaimStatus.Struck) {
                (uint256 metered, uint256 own) = _metered(all, d.claim);
                uint256 pool = WORKER_BOND / 2;
                pool -= own < pool ? own : pool;
                owed += Bond.refund(pool, metered, d.challengerCost);
            }
        }
        vm.assertEq(bonds, l.bonds, "bonds");
        vm.assertLe(owed, l.setAside, "set aside");
    }

    /// Each open claim holds a bond, and counts its disputes.
    function claimsAreBacked(IDisputes.Dispute[] memory all) private view {
        uint256 open;
        for (uint256 i; i < handler.claimCount(); i++) {
            bytes32 id = handler.claims(i);
            IMarket.Claim memory c = market.claimOf(id);
            IMarket.Request memory r = market.requestOf(c.request);
            if (c.status == IMarket.ClaimStatus.Open) {
                open++;
                vm.assertEq(_count(all, id), c.openDisputes, "open disputes");
                vm.assertEq(uint256(r.status), uint256(IMarket.RequestStatus.Claimed));
                vm.assertEq(r.claim, id);
            }
            if (c.status == IMarket.ClaimStatus.Final) vm.assertEq(c.openDisputes, 0, "final above a dispute");
            if (c.status == IMarket.ClaimStatus.Struck) vm.assertTrue(market.isStruck(c.request, c.worker));
        }
        uint256 reserved;
        for (uint256 i; i < handler.accountCount(); i++) {
            IMarket.Provider memory p = market.providerOf(handler.accounts(i));
            vm.assertLe(p.reserved, p.staked);
            reserved += p.reserved;
        }
        vm.assertEq(reserved, open * WORKER_BOND, "reserved");
    }

    /// Nothing above means anything if nothing happened.
    function afterInvariant() public view {
        vm.assertGe(100 * handler.done(), 30 * handler.calls());
    }

    function _count(IDisputes.Dispute[] memory all, bytes32 claim) private pure returns (uint256 count) {
        for (uint256 i; i < all.length; i++) {
            Phase p = all[i].position.phase;
            if (all[i].claim == claim && p >= Phase.Choosing && p <= Phase.Proving) count++;
        }
    }

    /// @dev Of all disputes on a struck claim that were not lost, the one that struck apart; settled ones keep their cost.
    function _metered(IDisputes.Dispute[] memory all, bytes32 claim)
        private
        pure
        returns (uint256 metered, uint256 own)
    {
        for (uint256 i; i < all.length; i++) {
            Phase p = all[i].position.phase;
            if (all[i].claim != claim || p == Phase.Lost || p == Phase.Conceded) continue;
            if (p == Phase.Struck) own = all[i].challengerCost;
            else metered += all[i].challengerCost;
        }
    }
}
