//! `touchstone withdraw`: fetches what the market owes an account: fees, rewards, bonds that came back.

use alloy::primitives::Address;
use anyhow::{Result, ensure};
use clap::Args;
use touchstone_chain::bindings::IMarket;

use crate::{chain, output};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    signing: chain::Signing,
    /// Who gets it; the account itself if not given
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    chain::block_on(async {
        let session = arguments.signing.open().await?;
        let (reader, market, account) = (&session.view.reader, session.deployment.market, session.account());
        let head = reader.head().await?;
        let credit = reader
            .call(market, &IMarket::creditOfCall { account }, head.hash)
            .await?;
        ensure!(!credit.is_zero(), "the market owes {account} nothing");
        let to = arguments.to.unwrap_or(account);
        let inclusion = session
            .send(market, Default::default(), &IMarket::withdrawCall { to })
            .await?;
        output::note(format_args!(
            "withdrawn to {to} in transaction {} ({} gas)",
            inclusion.transaction, inclusion.gas_used
        ));
        output::line(credit)
    })
}
